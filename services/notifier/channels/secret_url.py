"""Reads secret URLs from files and keeps them out of logs and errors."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from shared.errors import ConfigError
from shared.loopback import LOOPBACK_HOSTS


class SecretUrl:
    """A URL that does not show in reprs, logs and errors; `reveal` returns it."""

    def __init__(self, url: str) -> None:
        self._url = url

    def reveal(self) -> str:
        return self._url

    def __repr__(self) -> str:
        return "SecretUrl(***)"


def read_secret_url(file: Path) -> SecretUrl:
    """Read the URL in `file`. Raises ConfigError, which names the file but not its content."""
    try:
        url = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the secret file {file}: {type(error).__name__}") from error
    if not is_safe(url):
        raise ConfigError(f"expected one https:// URL in {file} (http:// is allowed only for this machine)")
    return SecretUrl(url)


def is_safe(url: str) -> bool:
    """Whether a secret may be sent to this URL: over https, or to this machine."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    if not parts.hostname or any(character.isspace() for character in url):
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK_HOSTS)
