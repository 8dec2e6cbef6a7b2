"""Recognises hosts that are this machine."""

from __future__ import annotations

from ipaddress import ip_address

# The usual names only, for callers that must not accept other forms of a loopback address.
LOOPBACK_HOSTS = frozenset({"127.0.0.1", "::1", "localhost"})


def is_loopback(host: str) -> bool:
    """Whether a host is `localhost` or a loopback address. An IPv6 address has no brackets."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
