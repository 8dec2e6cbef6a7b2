"""Decides whether a redirect is followed: only to the source's own origin and to hosts that its declaration lists."""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import SplitResult, urljoin, urlsplit

from shared.errors import InvalidDocument

STATUSES = frozenset({301, 302, 303, 307, 308})
MAX_REDIRECTS = 3
MAX_LOCATION_CHARS = 2048
DEFAULT_PORTS = {"http": 80, "https": 443}


def redirect_target(base_url: str, url: str, location: str | None, hosts: Collection[str]) -> str:
    """The URL to which `location`, received from `url`, leads. `hosts`: allowed besides the origin of `base_url`, each
    as HOST or HOST:PORT.

    Raises InvalidDocument if the redirect is not allowed.
    """
    if not location or len(location) > MAX_LOCATION_CHARS or not (location.isascii() and location.isprintable()):
        raise InvalidDocument(f"expected a redirect to a URL, got Location {(location or '')[:100]!r}")
    try:
        target = urljoin(url, location)
        parts = urlsplit(target)
        origin = _origin(parts)
    except ValueError as error:
        raise InvalidDocument(f"expected a redirect to a URL, got {location[:100]!r}: {error}") from error
    if parts.scheme not in DEFAULT_PORTS or parts.username is not None:
        raise InvalidDocument(f"expected a redirect to http(s)://HOST/PATH, got {location[:100]!r}")
    if urlsplit(url).scheme == "https" and parts.scheme == "http":
        raise InvalidDocument(f"a redirect from https to http is not followed: {target[:200]}")
    if origin != _origin(urlsplit(base_url)) and not _is_listed(origin, hosts):
        raise InvalidDocument(
            f"a redirect to another host is not followed: {target[:200]}; add it to redirects.hosts of the source's"
            " declaration if it is right"
        )
    return target


def _origin(parts: SplitResult) -> tuple[str, str, int]:
    return parts.scheme, (parts.hostname or ""), parts.port or DEFAULT_PORTS.get(parts.scheme, 0)


def _is_listed(origin: tuple[str, str, int], hosts: Collection[str]) -> bool:
    """A listed host without a port stands for the default port of the scheme."""
    scheme, host, port = origin
    names = {f"{host}:{port}", *([host] if port == DEFAULT_PORTS[scheme] else [])}
    return not names.isdisjoint(each.lower() for each in hosts)
