"""The command and the bot send a token only to this machine and to hosts that the settings name."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from headrace.remote.client import ApiClient
from shared.errors import ConfigError
from shared.settings.admin import AdminSettings, read_file_token
from tests.certificates import make_certificate
from tests.serving import serving

TOKEN = "t" * 40


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.tokens.append(self.headers["Authorization"])  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


class RecordingServer(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.tokens: list[str] = []


@pytest.fixture
def server() -> Iterator[RecordingServer]:
    with serving(RecordingServer()) as server:
        yield server


def get(url: str, admin: AdminSettings) -> object:
    client = ApiClient("fetcher", TOKEN, lambda: [url], 0.01, admin)
    try:
        return client.get("/status")
    finally:
        client.close()


def test_an_address_beyond_loopback_gets_no_token(server: RecordingServer) -> None:
    """The server listens on loopback, and its name is one that a row of ops.replicas may contain."""
    url = f"http://fetcher.example:{server.server_port}"

    with pytest.raises(ConfigError, match=r"not sent to .*fetcher\.example.*admin\.hosts"):
        get(url, AdminSettings())

    assert server.tokens == []


def test_loopback_gets_the_token(server: RecordingServer) -> None:
    assert get(f"http://127.0.0.1:{server.server_port}", AdminSettings()) == {}
    assert server.tokens == [f"Bearer {TOKEN}"]


@pytest.mark.parametrize(
    ("url", "settings", "sent"),
    [
        ("http://fetcher:8080", {}, False),
        ("http://fetcher:8080", {"hosts": "fetcher"}, False),
        ("https://fetcher:8080", {"hosts": "fetcher"}, True),
        ("http://fetcher:8080", {"hosts": "fetcher", "behind_proxy": True}, True),
        ("https://fetcher.evil.example", {"hosts": "fetcher"}, False),
        ("https://fetcher@evil.example", {"hosts": "fetcher"}, False),
        ("https://evil.example#fetcher", {"hosts": "fetcher"}, False),
        ("http://10.1.2.3:8080", {"hosts": "10.0.0.0/8", "behind_proxy": True}, True),
        ("http://11.1.2.3:8080", {"hosts": "10.0.0.0/8", "behind_proxy": True}, False),
        ("http://10.evil.example", {"hosts": "10.0.0.0/8", "behind_proxy": True}, False),
        ("http://localhost.evil.example", {}, False),
        ("http://[::1]:80", {}, True),
        ("ftp://127.0.0.1", {}, False),
        ("", {}, False),
    ],
)
def test_only_named_hosts_get_a_token(url: str, settings: dict[str, object], sent: bool) -> None:
    refusal = AdminSettings.model_validate(settings).refusal_to_send_token(url)

    assert (refusal is None) is sent


def test_a_client_checks_the_certificate_with_the_ca_file(server: RecordingServer, tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path)
    server.socket = certificate.context.wrap_socket(server.socket, server_side=True)
    url = f"https://127.0.0.1:{server.server_port}"

    assert get(url, AdminSettings(ca_file=certificate.file)) == {}
    with pytest.raises(Exception, match="certificate"):
        get(url, AdminSettings())
    assert len(server.tokens) == 1


def test_a_ca_file_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")

    with pytest.raises(ConfigError, match=r"admin\.ca_file .*ca\.pem"):
        get("https://127.0.0.1:1", AdminSettings(ca_file=tmp_path / "ca.pem"))


@pytest.mark.parametrize(
    ("text", "mode", "error"),
    [
        ("short", 0o600, "has 5 characters, expected at least 32"),
        (TOKEN, 0o604, "other users of this machine can read or write it"),
        (TOKEN, 0o602, "other users"),
        ("", 0o600, "is empty"),
    ],
)
def test_a_token_file_that_protects_nothing_is_refused_with_a_remedy(
    tmp_path: Path, text: str, mode: int, error: str
) -> None:
    file = tmp_path / "token"
    file.write_text(text)
    file.chmod(mode)

    with pytest.raises(ConfigError, match=error) as refused:
        read_file_token(file)

    assert "openssl rand" in str(refused.value) or not text
    assert TOKEN not in str(refused.value)


def test_a_token_file_of_a_group_is_accepted(tmp_path: Path) -> None:
    """Kubernetes gives a secret to the group of the pod."""
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    file.chmod(0o440)

    assert read_file_token(file) == TOKEN


def test_the_names_of_hosts_are_checked() -> None:
    for hosts in ("http://fetcher", "fetcher:8080", "10.0.0.0/99", "a b"):
        with pytest.raises(ValueError, match="expected names"):
            AdminSettings.model_validate({"hosts": hosts})
