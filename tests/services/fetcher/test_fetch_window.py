"""Any error while a window is fetched fails the window, with its cause."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from services.fetcher.archive.store import DocumentArchive
from services.fetcher.fetch_window import MAX_CAUSE_CHARS, FetchOutcome, FetchWindow
from services.fetcher.planning.cursor import WindowCursor, decode, encode
from services.fetcher.planning.windows import DueWindow, Window
from services.fetcher.sources.documents import Absence, Document
from shared.retry import Retry
from tests.services.fetcher.synthetic_documents import DAY, made_source

DUE = DueWindow(Window("cards", DAY), historical=True)
Fetch = Callable[[], Document | Absence]


class FakeSource:
    """A source that calls the given function."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch

    def fetch(self, due: DueWindow, etag: str | None) -> Document | Absence:
        return self._fetch()

    def close(self) -> None:
        """Nothing to close."""


def raising(error: BaseException) -> Fetch:
    def fetch() -> Document | Absence:
        raise error

    return fetch


def fetch_window(folder: Path, fetch: Fetch) -> FetchOutcome:
    run = FetchWindow(made_source(), FakeSource(fetch), DocumentArchive(folder), Retry(tries=1))
    return run(DUE, WindowCursor(attempts=2))


@pytest.mark.parametrize(
    "error", [RuntimeError("boom"), RecursionError("too deep"), MemoryError("no room"), KeyError("date")]
)
def test_an_unexpected_error_fails_the_window_with_its_type_and_message(tmp_path: Path, error: Exception) -> None:
    outcome = fetch_window(tmp_path, raising(error))

    assert (outcome.cursor.state, outcome.cursor.attempts, outcome.changed, outcome.records) == ("failed", 3, True, [])
    assert outcome.cursor.error == f"unexpected {type(error).__name__}: {error}"


def test_the_cause_is_bounded_and_names_no_secret(tmp_path: Path) -> None:
    outcome = fetch_window(tmp_path, raising(RuntimeError("at http://user:opensesame@host/ " + "x" * 10_000)))

    assert outcome.cursor.error is not None
    assert len(outcome.cursor.error) == MAX_CAUSE_CHARS
    assert "opensesame" not in outcome.cursor.error


def test_a_cause_that_is_not_valid_unicode_can_be_stored(tmp_path: Path) -> None:
    outcome = fetch_window(tmp_path, raising(RuntimeError("half a character: \ud800")))

    assert decode(encode(outcome.cursor)).error == "unexpected RuntimeError: half a character: ?"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1)])
def test_an_exception_that_ends_the_process_is_raised(tmp_path: Path, error: BaseException) -> None:
    with pytest.raises(type(error)):
        fetch_window(tmp_path, raising(error))
