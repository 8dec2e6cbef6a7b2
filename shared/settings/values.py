"""The kinds of values that sections of settings are made of, and the reader of secrets."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict

from shared.errors import ConfigError

# The hosts with which a server listens on all addresses of its machine.
ALL_ADDRESSES = frozenset({"0.0.0.0", "::"})  # noqa: S104


class Section(BaseModel):
    """A section of settings: one key of headrace.yaml. Numbers are accepted as text (`slot: 0`)."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        coerce_numbers_to_str=True,
        validate_by_name=True,
        validate_by_alias=True,
    )


def read_secret(file: Path) -> str:
    """The secret in a file, without surrounding white space. Raises ConfigError, which never contains the secret."""
    try:
        secret = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"cannot read the secret in {file}: {getattr(error, 'strerror', None) or 'it is not UTF-8 text'}"
        ) from None
    if not secret:
        raise ConfigError(f"{file} is empty: it must contain the secret and nothing else")
    return secret


def no_credentials(url: str) -> str:
    if urlsplit(url).password is not None:
        raise ValueError("a URL must not contain a password: process lists and logs would show it")
    return url


def _reachable_url(url: str) -> str:
    parts = urlsplit(no_credentials(url))
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path.strip("/") or parts.query:
        raise ValueError("expected http://HOST:PORT or https://HOST:PORT")
    if parts.hostname in ALL_ADDRESSES:
        raise ValueError(f"{parts.hostname} is an address to listen on: others cannot connect to it")
    return url.rstrip("/")


def _secret_file(file: Path) -> Path:
    if not os.access(file, os.R_OK) or not file.is_file():
        raise ValueError("expected a file that this user can read and that contains only the secret")
    return file


Url = Annotated[str, AfterValidator(no_credentials)]
ReachableUrl = Annotated[str, AfterValidator(_reachable_url)]
SecretFile = Annotated[Path, AfterValidator(_secret_file)]
