"""Any error while a window is fetched fails the window, with its cause."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from services.fetcher.archive.rejected import RejectedResponses
from services.fetcher.archive.store import DocumentArchive
from services.fetcher.fetch_window import ARCHIVE_RETRY_S, MAX_CAUSE_CHARS, FetchOutcome, FetchWindow
from services.fetcher.planning.cursor import WindowCursor, decode, encode
from services.fetcher.planning.windows import DueWindow, Window
from services.fetcher.sources.documents import Absence, Document, Refusal, RefusedResponse, SourceResponse
from shared.retry import Retry
from tests.services.fetcher.synthetic_documents import DAY, NOON, SettableClock, body, event, made_source

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


FORBIDDEN = SourceResponse("http://host/cards.json", 403, (("Server", "shield"),), b"<html>go away</html>")


def answer(content: bytes, historical: bool = True) -> Document:
    response = SourceResponse("http://host/cards.json", 200, (("ETag", '"a"'),), content)
    return Document("cards", DAY, "/cards.json", content, NOON, historical=historical, response=response)


def fetch_with_archive(folder: Path, document: Document, cursor: WindowCursor) -> FetchOutcome:
    run = FetchWindow(
        made_source(), FakeSource(lambda: document), DocumentArchive(folder), Retry(tries=1), RejectedResponses(folder)
    )
    return run(DueWindow(Window("cards", DAY), document.historical), cursor)


def index_lines(folder: Path) -> int:
    return len(list(DocumentArchive(folder).documents()))


def test_a_window_whose_document_cannot_be_stored_is_due_again_and_nothing_is_requested_until_then(
    tmp_path: Path,
) -> None:
    (tmp_path / "disk").write_text("no folder")
    requests: list[int] = []
    clock = SettableClock()
    document = answer(body("cards", [event(1)]))

    def fetch() -> Document:
        requests.append(1)
        return document

    run = FetchWindow(
        made_source(), FakeSource(fetch), DocumentArchive(tmp_path / "disk" / "archive"), Retry(tries=1), clock=clock
    )
    refused, waiting = run(DUE, WindowCursor(attempts=2)), run(DUE, WindowCursor(attempts=2))

    assert (refused.cursor, refused.changed, refused.records) == (WindowCursor(attempts=2), False, [])
    assert refused.deferred_until == waiting.deferred_until == clock.now() + timedelta(seconds=ARCHIVE_RETRY_S)
    assert len(requests) == 1

    (tmp_path / "disk").unlink()
    clock.at += timedelta(seconds=ARCHIVE_RETRY_S)
    assert run(DUE, WindowCursor(attempts=2)).cursor.state == "done"


def test_an_accepted_document_is_archived(tmp_path: Path) -> None:
    outcome = fetch_with_archive(tmp_path, answer(body("cards", [event(1)])), WindowCursor())

    assert outcome.cursor.document is not None
    assert DocumentArchive(tmp_path).read(outcome.cursor.document) == body("cards", [event(1)])
    assert not (tmp_path / "rejected").exists()


@pytest.mark.parametrize("content", [b"<html>busy</html>", body("cards", [event(1, DAY.replace(day=3))])])
def test_a_document_that_cannot_be_split_is_only_among_the_rejected(tmp_path: Path, content: bytes) -> None:
    outcome = fetch_with_archive(tmp_path, answer(content), WindowCursor())

    (stored,) = (tmp_path / "rejected").glob("*.body")
    assert outcome.cursor.error is not None
    assert outcome.cursor.error.endswith(f"; the response is in archive/rejected/{stored.stem}.json")
    assert stored.read_bytes() == content
    assert index_lines(tmp_path) == 0


def test_a_document_of_the_day_before_is_not_stored_while_a_day_is_followed(tmp_path: Path) -> None:
    """The address of the current day serves it until the first publication."""
    document = answer(body("cards", [event(1, DAY.replace(day=3))]), historical=False)

    outcome = fetch_with_archive(tmp_path, document, WindowCursor())

    assert outcome.absent
    assert list(tmp_path.iterdir()) == []


def test_a_refused_response_is_stored_with_its_reason(tmp_path: Path) -> None:
    error = RefusedResponse("expected 200, got 403", Refusal.STATUS, FORBIDDEN)
    run = FetchWindow(
        made_source(), FakeSource(raising(error)), DocumentArchive(tmp_path), Retry(tries=1),
        RejectedResponses(tmp_path), SettableClock(),
    )  # fmt: skip

    cause = run(DUE, WindowCursor()).cursor.error

    (meta,) = (tmp_path / "rejected").glob("*.json")
    assert cause == f"expected 200, got 403; the response is in archive/rejected/{meta.name}"
    assert json.loads(meta.read_bytes()) == {
        "at": "2031-05-04T03:00:00Z",
        "feed": "cards",
        "date": "2031-05-04",
        "url": "http://host/cards.json",
        "status": 403,
        "reason": "status",
        "cause": "expected 200, got 403",
        "body_bytes": 20,
        "is_body_cut": False,
        "headers": [["Server", "shield"]],
    }


def test_a_slice_is_rejected_once_while_documents_of_its_window_have_it(tmp_path: Path) -> None:
    letters = []
    cursor = WindowCursor()
    for events in ([event(1), event(0)], [event(1, w=52), event(0)], [event(1), event(0), event(0, w=1)]):
        outcome = fetch_with_archive(tmp_path, answer(body("cards", events), historical=False), cursor)
        cursor = outcome.cursor
        letters.append([json.loads(record.value) for record in outcome.records if record.topic == "fetcher.dlq"])

    assert letters == [[event(0)], [], [event(0, w=1)]]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1)])
def test_an_exception_that_ends_the_process_is_raised(tmp_path: Path, error: BaseException) -> None:
    with pytest.raises(type(error)):
        fetch_window(tmp_path, raising(error))
