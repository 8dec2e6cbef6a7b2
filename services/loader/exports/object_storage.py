"""Stores exports under an fsspec URL, for example s3://BUCKET/PREFIX. Needs the extra `parquet`.

Credentials are found by the library, for S3 in the environment, its files or the instance's role.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec

from services.loader.exports.target import ExportError
from shared.errors import ConfigError
from shared.logs import mask_text

# A server that does not answer is reported within a minute; the exporter itself retries later.
_DEFAULTS: Mapping[str, dict[str, Any]] = {
    "s3": {"config_kwargs": {"connect_timeout": 5, "read_timeout": 20, "retries": {"max_attempts": 2}}}
}


class ObjectStorageTarget:
    """Files of an fsspec file system below a URL. Object storage shows a file only when it is stored completely."""

    def __init__(self, url: str, options: Mapping[str, str]) -> None:
        """Connects to nothing yet. Raises ConfigError if the URL's protocol needs a package that is missing."""
        self._url = url.rstrip("/")
        protocol = url.partition("://")[0]
        try:
            self._files, self._root = fsspec.url_to_fs(
                self._url, **_DEFAULTS.get(protocol, {}), **options, skip_instance_cache=True, use_listings_cache=False
            )
        except (ImportError, ValueError, TypeError) as error:
            raise ConfigError(f"loader.exports_target {self._url}: {error}") from None

    def __str__(self) -> str:
        return self._url

    def store(self, file: Path, name: str) -> None:
        with self._as_export_error():
            self._files.put_file(str(file), self._path(name))

    def write(self, content: bytes, name: str) -> None:
        with self._as_export_error():
            self._files.pipe_file(self._path(name), content)

    def copy(self, source: str, name: str) -> None:
        with self._as_export_error():
            self._files.cp_file(self._path(source), self._path(name))

    def read(self, name: str) -> bytes | None:
        with self._as_export_error():
            try:
                return bytes(self._files.cat_file(self._path(name)))
            except FileNotFoundError:
                return None

    def names(self, folder: str) -> list[str]:
        with self._as_export_error():
            self._files.invalidate_cache()
            try:
                entries = self._files.ls(self._path(folder), detail=True)
            except FileNotFoundError:
                return []
            return sorted(
                f"{folder}/{entry['name'].rsplit('/', 1)[-1]}" for entry in entries if entry["type"] == "file"
            )

    def remove(self, names: Iterable[str]) -> None:
        with self._as_export_error():
            for name in names:
                try:
                    self._files.rm_file(self._path(name))
                except FileNotFoundError:
                    continue

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    @contextmanager
    def _as_export_error(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # each fsspec file system and its HTTP client have errors of their own
            text = " ".join(str(getattr(error, "strerror", None) or error).split())
            raise ExportError(mask_text(text[:300] or type(error).__name__)) from error
