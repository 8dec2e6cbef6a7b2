"""Counts the answers of a document source. Every try counts, including those that are retried."""

from __future__ import annotations

from collections.abc import Callable

from services.fetcher.planning.windows import DueWindow
from services.fetcher.sources.documents import Absence, Document, DocumentSource
from shared.errors import InvalidDocument

DOCUMENT, FAILED, REFUSED = "document", "failed", "refused"
ANSWERS = (DOCUMENT, *(absence.value for absence in Absence), FAILED, REFUSED)


class MeteredSource:
    """Calls `count` with the answer to each request, one of ANSWERS.

    `refused` means InvalidDocument, `failed` any other error.
    """

    def __init__(self, inner: DocumentSource, count: Callable[[str], None]) -> None:
        self._inner = inner
        self._count = count

    def fetch(self, due: DueWindow, etag: str | None) -> Document | Absence:
        try:
            answer = self._inner.fetch(due, etag)
        except InvalidDocument:
            self._count(REFUSED)
            raise
        except Exception:
            self._count(FAILED)
            raise
        self._count(answer.value if isinstance(answer, Absence) else DOCUMENT)
        return answer

    def close(self) -> None:
        self._inner.close()
