"""Which hosts are this machine itself."""

from __future__ import annotations

from ipaddress import ip_address

# The usual names, for what must be sure without an address of another form.
LOOPBACK_HOSTS = frozenset({"127.0.0.1", "::1", "localhost"})


def is_loopback(host: str) -> bool:
    """Whether a host name is `localhost` or an address of the loopback range, without brackets."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
