"""Counts the answers of a document source. Every try counts, including those that are retried."""

from __future__ import annotations

from collections.abc import Callable

from services.fetcher.planning.windows import DueWindow
from services.fetcher.sources.documents import Absence, Document, DocumentSource
from shared.errors import InvalidDocument


class MeteredSource:
    """Calls `count` with the answer to each request: `document`, `unchanged`, `not published`, `failed` or `refused`.

    `refused` means InvalidDocument, `failed` any other error.
    """

    def __init__(self, inner: DocumentSource, count: Callable[[str], None]) -> None:
        self._inner = inner
        self._count = count

    def fetch(self, due: DueWindow, etag: str | None) -> Document | Absence:
        try:
            answer = self._inner.fetch(due, etag)
        except InvalidDocument:
            self._count("refused")
            raise
        except Exception:
            self._count("failed")
            raise
        self._count(answer.value if isinstance(answer, Absence) else "document")
        return answer

    def close(self) -> None:
        self._inner.close()
