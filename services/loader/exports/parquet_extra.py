"""Checks for the packages of the extra `parquet`. The loader's image does not contain them by default."""

from __future__ import annotations

from importlib.util import find_spec

from shared.errors import ConfigError

# The extra `parquet` in pyproject.toml lists the same packages.
PARQUET_PACKAGES = ("fsspec", "pyarrow", "s3fs")


def require_parquet_extra(subject: str) -> None:
    """Raises ConfigError that names the missing packages. `subject`: what needs them."""
    missing = [name for name in PARQUET_PACKAGES if find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"{subject} needs packages that are not installed here: {', '.join(missing)}. Install headrace[parquet]"
        )
