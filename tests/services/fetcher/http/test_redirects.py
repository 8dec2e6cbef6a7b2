"""Which redirects are followed."""

from __future__ import annotations

import pytest

from services.fetcher.http.redirects import redirect_target
from shared.errors import InvalidDocument

BASE = "https://data.example.org/api"
URL = f"{BASE}/cards/today.json"


def target_of(location: str | None, hosts: tuple[str, ...] = (), url: str = URL, base: str = BASE) -> str:
    return redirect_target(base, url, location, hosts)


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("/other.json", "https://data.example.org/other.json"),
        ("other.json", "https://data.example.org/api/cards/other.json"),
        ("https://data.example.org:443/other.json", "https://data.example.org:443/other.json"),
        ("//DATA.example.org/other.json", "https://DATA.example.org/other.json"),
    ],
)
def test_a_redirect_within_the_origin_is_followed(location: str, target: str) -> None:
    assert target_of(location) == target


@pytest.mark.parametrize(
    "location",
    [
        "https://example.org/",
        "https://data.example.org.evil.example/",
        "https://data.example.org:8443/",
        "//169.254.169.254/latest",
        "https://127.0.0.1/",
        "https://[::1]/",
    ],
)
def test_a_redirect_to_another_origin_is_refused(location: str) -> None:
    with pytest.raises(InvalidDocument, match="to another host is not followed"):
        target_of(location)


@pytest.mark.parametrize("host", ["cdn.example.org", "CDN.example.org", "cdn.example.org:443"])
def test_a_redirect_to_a_listed_host_is_followed(host: str) -> None:
    assert target_of("https://cdn.example.org/a.json", (host,)) == "https://cdn.example.org/a.json"


def test_a_listed_host_stands_for_its_default_port_only() -> None:
    with pytest.raises(InvalidDocument, match="another host"):
        target_of("https://cdn.example.org:8443/a.json", ("cdn.example.org",))


@pytest.mark.parametrize("location", ["http://data.example.org/a.json", "http://cdn.example.org/a.json"])
def test_a_redirect_from_https_to_http_is_refused(location: str) -> None:
    with pytest.raises(InvalidDocument, match="from https to http"):
        target_of(location, ("data.example.org", "cdn.example.org"))


@pytest.mark.parametrize(
    "location",
    [
        None,
        "",
        "/" + "a" * 2048,
        "/\xff",
        "/a\tb",
        "http://[::1",
        "https://data.example.org:99999/",
        "file:///etc/passwd",
        "ftp://data.example.org/",
        "javascript:alert(1)",
        "https://user@data.example.org/",
        "https://user:password@data.example.org/",
    ],
)
def test_a_redirect_to_anything_else_is_refused(location: str | None) -> None:
    with pytest.raises(InvalidDocument, match="expected a redirect to "):
        target_of(location, ("data.example.org",))
