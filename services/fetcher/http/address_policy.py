"""Tells public addresses from private ones, so that a source cannot lead requests into the network of the fetcher."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

NAT64 = IPv6Network("64:ff9b::/96")
# Names that only a private network resolves. So does a name without a dot, such as that of a container.
PRIVATE_SUFFIXES = (".localhost", ".local", ".internal", ".lan", ".home.arpa", ".svc")


def is_public(address: str) -> bool:
    """Whether an address is reachable over the internet. An IPv6 address may contain an IPv4 address: both count."""
    try:
        ip = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    return all(each.is_global and not each.is_multicast for each in (ip, *_embedded(ip)))


def is_private_host(host: str) -> bool:
    """Whether a host of a declaration is in a private network: by its address, or by a name that is not public."""
    try:
        ip_address(host)
    except ValueError:
        name = host.lower().rstrip(".")
        return "." not in name or name.endswith(PRIVATE_SUFFIXES)
    return not is_public(host)


def _embedded(ip: IPv4Address | IPv6Address) -> list[IPv4Address]:
    """The IPv4 addresses that a translator or tunnel would send to."""
    if isinstance(ip, IPv4Address):
        return []
    embedded = [ip.sixtofour, *(ip.teredo or ())]
    if ip in NAT64:
        embedded.append(IPv4Address(int(ip) & 0xFFFFFFFF))
    return [each for each in embedded if each is not None]
