"""The accounting alone: whatever evidence exists, every id has one fate, and the counts add up."""

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
CLEANER_LETTER = DeadLetterEvidence("cleaner", "cleaner.dlq/0/1", "InvalidEvent: no date")
LOADER_LETTER = DeadLetterEvidence("loader", "loader.dlq/0/1", "InvalidEvent: too long")
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
# Evidence of every possible path of a record in a pipeline that loses nothing, by the fate of the record.
EVIDENCE_BY_FATE = {
    "loaded": [WHOLE],
    "superseded": [replace(WHOLE, rows="superseded")],
    "parked": [replace(CLEANED, parked=True)],
    "dead": [
        replace(FETCHED, dead_letters=(CLEANER_LETTER,)),
        replace(CLEANED, dead_letters=(LOADER_LETTER,)),
        replace(FETCHED, raw=None, rejected=True, dead_letters=(CLEANER_LETTER,)),
    ],
    "filtered": [replace(FETCHED, filter_reason="nothing"), replace(CLEANED, filter_reason="no result yet")],
    "in flight": [
        replace(FETCHED, raw_passed=False),
        replace(CLEANED, clean_passed=False),
        replace(FETCHED, dead_letters=(CLEANER_LETTER,), retry_place="cleaner.retry/0/4"),
        replace(CLEANED, dead_letters=(LOADER_LETTER,), retry_place="loader.retry/0/4"),
    ],
}
PATHS = [(class_, each) for class_, examples in EVIDENCE_BY_FATE.items() for each in examples]
paths = st.sampled_from(PATHS)
any_evidence = st.builds(
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
    dead_letters=st.sampled_from([(), (CLEANER_LETTER,), (CLEANER_LETTER, LOADER_LETTER)]),
    filter_reason=st.sampled_from([None, "nothing"]),
)


@given(paths)
def test_a_record_that_was_not_lost_has_the_fate_of_its_path(path: tuple[str, RecordEvidence]) -> None:
    class_, evidence = path

    assert decide_fate(evidence).class_ == class_


@given(paths, st.sampled_from(["raw", "clean", "rows"]))
def test_a_record_removed_from_a_place_is_missing_at_the_hop_before_it(
    path: tuple[str, RecordEvidence], place: str
) -> None:
    """Unless it was not there, or the evidence gives another reason for its absence."""
    class_, evidence = path
    if getattr(evidence, place) is None:
        return
    is_explained = (
        evidence.parked
        or evidence.dead_letters
        or evidence.filter_reason
        or (place == "clean" and class_ == "in flight")
    )
    removed: dict[str, Any] = {place: None}

    fate = decide_fate(replace(evidence, **removed))

    if place == "raw" or not is_explained:
        assert fate.is_missing
        assert fate.why.endswith({"raw": "raw-events", "clean": "clean-events", "rows": "facts"}[place])


@given(paths, st.booleans())
def test_a_record_removed_by_retention_is_not_missing(path: tuple[str, RecordEvidence], archived: bool) -> None:
    class_, evidence = path
    if class_ not in {"loaded", "superseded", "dead"} or evidence.rejected:
        return

    later = replace(evidence, raw=None, clean=None, raw_due=False, clean_due=False, archived=archived)

    assert decide_fate(later).class_ == class_


@given(st.lists(any_evidence, max_size=50))
def test_the_counts_add_up_for_any_evidence(records: list[RecordEvidence]) -> None:
    totals = count_fates(map(decide_fate, records))

    assert (totals.fetched, totals.difference) == (len(records), 0)
    assert set(totals.counts) <= set(CLASSES)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xy"))), st.lists(st.sampled_from("abc")))
def test_only_findings_of_both_passes_are_confirmed(first: list[tuple[str, str]], second: list[str]) -> None:
    first_findings = [Finding("missing", subject, where, detail="then") for subject, where in first]
    second_findings = [Finding("missing", subject, "x", detail="now") for subject in second]

    confirmed = confirmed_findings(first_findings, second_findings)

    assert confirmed == [each for each in second_findings if (each.subject, "x") in first]
