"""A visit reports what went wrong as a failed window, whatever it was."""

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
from tests.services.fetcher.made import DAY, made_source

DUE = DueWindow(Window("cards", DAY), historical=True)
Fetch = Callable[[], Document | Absence]


class Answering:
    """A place to fetch from that does what it is given."""

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


def visited(folder: Path, fetch: Fetch) -> FetchOutcome:
    visit = FetchWindow(made_source(), Answering(fetch), DocumentArchive(folder), Retry(tries=1))
    return visit(DUE, WindowCursor(attempts=2))


@pytest.mark.parametrize(
    "error", [RuntimeError("boom"), RecursionError("too deep"), MemoryError("no room"), KeyError("date")]
)
def test_an_unexpected_error_fails_the_window_with_its_type_and_message(tmp_path: Path, error: Exception) -> None:
    found = visited(tmp_path, raising(error))

    assert (found.cursor.state, found.cursor.attempts, found.changed, found.records) == ("failed", 3, True, [])
    assert found.cursor.error == f"unexpected {type(error).__name__}: {error}"


def test_the_cause_is_bounded_and_names_no_secret(tmp_path: Path) -> None:
    found = visited(tmp_path, raising(RuntimeError("at http://somebody:opensesame@host/ " + "x" * 10_000)))

    assert found.cursor.error is not None
    assert len(found.cursor.error) == MAX_CAUSE_CHARS
    assert "opensesame" not in found.cursor.error


def test_a_cause_that_is_not_valid_unicode_can_be_stored(tmp_path: Path) -> None:
    found = visited(tmp_path, raising(RuntimeError("half a character: \ud800")))

    assert decode(encode(found.cursor)).error == "unexpected RuntimeError: half a character: ?"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1)])
def test_what_ends_the_process_is_not_kept_back(tmp_path: Path, error: BaseException) -> None:
    with pytest.raises(type(error)):
        visited(tmp_path, raising(error))
