"""Counting the results of requests to a source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime

import pytest

from services.fetcher.planning.windows import DueWindow, Window
from services.fetcher.sources.documents import Absence, Document
from services.fetcher.sources.metered import MeteredSource
from shared.errors import InvalidDocument, TransientError

DUE = DueWindow(Window("results", date(2026, 1, 31)), historical=True)
DOCUMENT = Document("results", date(2026, 1, 31), "url", b"{}", datetime(2026, 2, 1, tzinfo=UTC))


class FakeSource:
    """A source that calls the given function."""

    def __init__(self, answer: Callable[[], Document | Absence]) -> None:
        self._answer = answer
        self.closed = False

    def fetch(self, due: DueWindow, etag: str | None) -> Document | Absence:
        return self._answer()

    def close(self) -> None:
        self.closed = True


def refuse(error: Exception) -> Callable[[], Document | Absence]:
    def answer() -> Document | Absence:
        raise error

    return answer


@pytest.mark.parametrize(
    ("answer", "label"),
    [
        (lambda: DOCUMENT, "document"),
        (lambda: Absence.UNCHANGED, "unchanged"),
        (lambda: Absence.NOT_PUBLISHED, "not published"),
    ],
)
def test_every_result_is_counted_and_returned(answer: Callable[[], Document | Absence], label: str) -> None:
    counts: Counter[str] = Counter()

    fetched = MeteredSource(FakeSource(answer), lambda status: counts.update([status])).fetch(DUE, None)

    assert (fetched, counts) == (answer(), {label: 1})


@pytest.mark.parametrize(
    ("error", "label"),
    [(TransientError("away"), "failed"), (InvalidDocument("odd"), "refused"), (RuntimeError("unexpected"), "failed")],
)
def test_errors_are_counted_and_raised(error: Exception, label: str) -> None:
    counts: Counter[str] = Counter()

    with pytest.raises(type(error)):
        MeteredSource(FakeSource(refuse(error)), lambda status: counts.update([status])).fetch(DUE, None)

    assert counts == {label: 1}


def test_close_closes_the_inner_source() -> None:
    inner = FakeSource(lambda: DOCUMENT)

    MeteredSource(inner, lambda _: None).close()

    assert inner.closed
