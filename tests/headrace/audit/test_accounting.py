"""The accounting by itself: whatever happened on the way, every id has one fate, and the sums close."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.audit.accounting import (
    CLASSES,
    DeadLetterEvidence,
    Finding,
    RecordEvidence,
    confirmed_findings,
    count_fates,
    decide_fate,
)

pytestmark = pytest.mark.slow
DEATH = DeadLetterEvidence("cleaner", "cleaner.dlq/0/1", "InvalidEvent: no date")
LOADER_DEATH = DeadLetterEvidence("loader", "loader.dlq/0/1", "InvalidEvent: too long")
WHOLE = RecordEvidence(
    "id",
    "s:2026-01-31:01:01",
    1,
    archived=True,
    raw="raw-events/0/1",
    raw_passed=True,
    clean="clean-events/0/1",
    clean_passed=True,
    rows="loaded",
)
CLEANED = replace(WHOLE, rows=None)
FETCHED = replace(CLEANED, clean=None, clean_passed=False)
# Every way that a record may go in a pipeline that loses nothing, and what becomes of it.
WAYS = {
    "loaded": [WHOLE],
    "superseded": [replace(WHOLE, rows="superseded")],
    "parked": [replace(CLEANED, parked=True)],
    "dead": [
        replace(FETCHED, dead_letters=(DEATH,)),
        replace(CLEANED, dead_letters=(LOADER_DEATH,)),
        replace(FETCHED, raw=None, rejected=True, dead_letters=(DEATH,)),
    ],
    "filtered": [replace(FETCHED, filter_reason="nothing"), replace(CLEANED, filter_reason="no result yet")],
    "in flight": [
        replace(FETCHED, raw_passed=False),
        replace(CLEANED, clean_passed=False),
        replace(FETCHED, dead_letters=(DEATH,), retry_place="cleaner.retry/0/4"),
        replace(CLEANED, dead_letters=(LOADER_DEATH,), retry_place="loader.retry/0/4"),
    ],
}
JOURNEYS = [(class_, each) for class_, ways in WAYS.items() for each in ways]
journeys = st.sampled_from(JOURNEYS)
evidence = st.builds(
    RecordEvidence,
    st.just("id"),
    st.just("key"),
    archived=st.booleans(),
    rejected=st.booleans(),
    raw=st.sampled_from([None, "raw-events/0/1"]),
    raw_due=st.booleans(),
    raw_passed=st.booleans(),
    clean=st.sampled_from([None, "clean-events/0/1"]),
    clean_due=st.booleans(),
    clean_passed=st.booleans(),
    rows=st.sampled_from([None, "loaded", "superseded"]),
    parked=st.booleans(),
    retry_place=st.sampled_from([None, "loader.retry/0/1"]),
    dead=st.sampled_from([(), (DEATH,), (DEATH, LOADER_DEATH)]),
    filter_reason=st.sampled_from([None, "nothing"]),
)


@given(journeys)
def test_what_was_not_lost_has_the_fate_it_met(journey: tuple[str, RecordEvidence]) -> None:
    class_, found = journey

    assert decide_fate(found).class_ == class_


@given(journeys, st.sampled_from(["raw", "clean", "rows"]))
def test_what_is_taken_out_of_a_place_is_missing_before_it(journey: tuple[str, RecordEvidence], place: str) -> None:
    """Unless it was not there, or it has another reason not to be there any more."""
    class_, found = journey
    if getattr(found, place) is None:
        return
    excused = found.parked or found.dead_letters or found.filter_reason or (place == "clean" and class_ == "in flight")
    robbed: dict[str, Any] = {place: None}

    entry = decide_fate(replace(found, **robbed))

    if place == "raw" or not excused:
        assert entry.is_missing
        assert entry.why.endswith({"raw": "raw-events", "clean": "clean-events", "rows": "facts"}[place])


@given(journeys, st.booleans())
def test_what_retention_took_is_not_missing(journey: tuple[str, RecordEvidence], archived: bool) -> None:
    class_, found = journey
    if class_ not in {"loaded", "superseded", "dead"} or found.rejected:
        return

    later = replace(found, raw=None, clean=None, raw_due=False, clean_due=False, archived=archived)

    assert decide_fate(later).class_ == class_


@given(st.lists(evidence, max_size=50))
def test_the_books_close_whatever_was_found(found: list[RecordEvidence]) -> None:
    books = count_fates(map(decide_fate, found))

    assert (books.fetched, books.difference) == (len(found), 0)
    assert set(books.counts) <= set(CLASSES)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xy"))), st.lists(st.sampled_from("abc")))
def test_only_what_two_looks_saw_is_so(first: list[tuple[str, str]], second: list[str]) -> None:
    seen = [Finding("missing", subject, where, detail="then") for subject, where in first]
    again = [Finding("missing", subject, "x", detail="now") for subject in second]

    found = confirmed_findings(seen, again)

    assert found == [each for each in again if (each.subject, "x") in first]
