"""Collects the body of a response and unpacks it, within a limit that is checked while unpacking."""

from __future__ import annotations

import zlib

from services.fetcher.http.headers import GZIP
from shared.errors import InvalidDocument

GZIP_WINDOW = 16 + zlib.MAX_WBITS


class BodyCollector:
    """The body of one response. `encoding` is PLAIN or GZIP. Every method raises InvalidDocument."""

    def __init__(self, encoding: str, max_bytes: int) -> None:
        self._gzip = zlib.decompressobj(GZIP_WINDOW) if encoding == GZIP else None
        self._max_bytes = max_bytes
        # A body that arrives in one read is one part, which is not copied again.
        self._parts: list[bytes] = []
        self._size_bytes = 0

    def add(self, data: bytes) -> None:
        """Unpacks at most one byte more than allowed."""
        room = self._max_bytes + 1 - self._size_bytes
        if self._gzip is None:
            part = data[:room]
        else:
            try:
                part = self._gzip.decompress(data, room)
            except zlib.error as error:
                raise InvalidDocument(f"expected a body in gzip: {error}") from error
        self._parts.append(part)
        self._size_bytes += len(part)
        if self._gzip is not None and self._gzip.unused_data:
            raise InvalidDocument("expected one gzip member, got bytes after it")
        if self._size_bytes > self._max_bytes:
            raise InvalidDocument(f"expected at most {self._max_bytes:,} bytes, got more")

    def body(self) -> bytes:
        """The whole body, after the last `add`."""
        if self._gzip is not None and not self._gzip.eof:
            raise InvalidDocument("the body ends inside its gzip member")
        return self.beginning

    @property
    def beginning(self) -> bytes:
        """What was unpacked so far."""
        return b"".join(self._parts)
