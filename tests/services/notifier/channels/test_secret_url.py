"""A URL with a secret, which no log or error shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.notifier.channels.secret_url import read_secret_url
from shared.errors import ConfigError


def url_file(directory: Path, content: bytes) -> Path:
    file = directory / "url"
    file.write_bytes(content)
    return file


def test_the_url_is_read_and_not_shown(tmp_path: Path) -> None:
    url = read_secret_url(url_file(tmp_path, b"https://hooks.example/s3cret\n"))

    assert url.reveal() == "https://hooks.example/s3cret"
    assert "s3cret" not in f"{url!r} {url} {[url]}"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"s3cret",
        b"http://hooks.example/s3cret",
        b"file:///s3cret",
        b"https://a/s3cret b",
        b"\xff\xfes3cret",
        b"https://[s3cret",
    ],
)
def test_an_invalid_url_is_an_error_that_names_only_the_file(tmp_path: Path, content: bytes) -> None:
    file = url_file(tmp_path, content)

    with pytest.raises(ConfigError, match=str(file)) as raised:
        read_secret_url(file)

    assert "s3cret" not in str(raised.value)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="FileNotFoundError"):
        read_secret_url(tmp_path / "none")
