"""Which final documents have too few events, and which windows have an answer that is not their document."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from services.fetcher.planning.cursor import WindowStatus, WrongDocument
from services.fetcher.planning.suspects import suspicions
from services.fetcher.planning.windows import Window

DAY = date(2031, 5, 4)
CARDS, ENDS = Window("cards", DAY), Window("ends", DAY)


def status(events: int | None, state: str = "done", **fields: object) -> WindowStatus:
    fields = {"most_events": events or 0} | fields
    return WindowStatus(state, events=events, **fields)  # type: ignore[arg-type]


def suspects(statuses: dict[Window, WindowStatus]) -> set[Window]:
    return set(suspicions(statuses))


def test_a_final_document_with_fewer_events_than_another_one_of_its_day_is_suspect() -> None:
    assert suspects({CARDS: status(12), ENDS: status(11)}) == {ENDS}
    assert suspects({CARDS: status(12), ENDS: status(12)}) == set()
    assert suspects({CARDS: status(12), ENDS: status(0)}) == {ENDS}


def test_other_days_do_not_count() -> None:
    other = Window("cards", DAY + timedelta(days=1))

    assert suspects({other: status(24), ENDS: status(12)}) == set()


def test_events_of_earlier_documents_of_the_window_count() -> None:
    assert suspects({ENDS: status(3, most_events=12)}) == {ENDS}


def test_only_final_documents_are_suspect() -> None:
    assert suspects({CARDS: status(12), ENDS: status(2, "live")}) == set()
    assert suspects({CARDS: status(12), ENDS: status(2, "failed")}) == set()


def test_a_confirmed_document_is_not_suspect() -> None:
    assert suspects({CARDS: status(12), ENDS: status(2, is_confirmed=True)}) == set()


def test_a_window_of_a_version_that_did_not_count_events_is_not_suspect() -> None:
    assert suspects({CARDS: status(12), ENDS: status(None)}) == set()


def test_a_document_without_events_is_suspect_also_if_no_other_one_of_its_day_has_events() -> None:
    assert suspicions({ENDS: status(0)}) == {ENDS: "the document has no events"}


def test_events_without_values_are_suspect() -> None:
    assert suspicions({ENDS: status(12, valued=0)}) == {ENDS: "none of 12 events has values"}
    assert suspects({ENDS: status(12, valued=1)}) == set()


def test_fewer_values_than_in_an_earlier_document_are_suspect() -> None:
    found = suspicions({ENDS: status(12, valued=7, most_valued=9)})

    assert found == {ENDS: "7 events have values, in an earlier document 9"}


def test_a_failed_window_is_suspect_if_the_answer_was_not_its_document() -> None:
    page = WrongDocument("block page", "a", datetime(2031, 5, 4, tzinfo=UTC))

    assert suspicions({ENDS: status(None, "failed", error="a page", wrong_document=page)}) == {ENDS: "a page"}
    assert suspicions({ENDS: status(None, wrong_document=page)}) == {}
