"""Which addresses and hosts are private."""

from __future__ import annotations

import pytest

from services.fetcher.http.address_policy import is_private_host, is_public


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "64:ff9b::808:808", "::ffff:8.8.8.8"])
def test_a_public_address(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        *(
            "127.0.0.1",
            "10.1.2.3",
            "172.17.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
        ),
        *("255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0", "fd00::1", "ff02::1", "::ffff:127.0.0.1"),
        *("::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "not an address"),
    ],
)
def test_a_private_address(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("host", ["localhost", "simulator", "127.0.0.1", "::1", "10.0.0.1", "a.local", "web.b.svc"])
def test_a_private_host(host: str) -> None:
    assert is_private_host(host)


@pytest.mark.parametrize("host", ["example.org", "8.8.8.8", "boatraceopenapi.github.io", "localhost.example.org"])
def test_a_public_host(host: str) -> None:
    assert not is_private_host(host)
