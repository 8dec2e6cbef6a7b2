"""Selection of dead letters."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.broker.contract import Record
from shared.ops.dead_letter_choice import MAX_REDRIVES, DeadLetterFilter, DeadLetterSelection, count_facets
from shared.ops.dead_letters import DeadLetter, DeadLetterPlace, letter_of

AT = datetime(2031, 5, 4, 3, tzinfo=UTC)


def letter(offset: int = 0, *, key: str = "k", **headers: str) -> DeadLetter:
    encoded = {f"dlq.{name.replace('_', '-')}": value.encode() for name, value in headers.items()}
    at_ms = int((AT + timedelta(minutes=offset)).timestamp() * 1000)
    return letter_of(Record("cleaner.dlq", 0, offset, at_ms, key.encode(), b"{}", encoded))


@pytest.mark.parametrize(
    ("criteria", "matches"),
    [
        ({}, True),
        ({"cause": "ValueError"}, True),
        ({"cause": "InvalidEvent"}, False),
        ({"state": "open"}, True),
        ({"state": "redriven"}, False),
        ({"key": "boatrace:2026-01-31:*"}, True),
        ({"key": "*:04"}, True),
        ({"key": "boatrace:2026-01-31"}, False),
        ({"key": "boatrace.2026-01-31:*"}, False),
        ({"since": AT}, True),
        ({"since": AT + timedelta(microseconds=1)}, False),
        ({"until": AT}, False),
        ({"until": AT + timedelta(microseconds=1)}, True),
        ({"topic": "raw-events", "stage": "handle", "stack_digest": "d"}, True),
        ({"topic": "clean-events"}, False),
    ],
)
def test_a_filter_matches_by_each_of_its_criteria(criteria: dict[str, Any], matches: bool) -> None:
    dead_letter = letter(
        key="boatrace:2026-01-31:07:04",
        exception_class="ValueError",
        original_topic="raw-events",
        stage="handle",
        stack_digest="d",
    )

    assert DeadLetterFilter(**criteria).matches(dead_letter, "open") == matches
    assert DeadLetterFilter.from_json(DeadLetterFilter(**criteria).as_json()) == DeadLetterFilter(**criteria)


def test_a_letter_with_too_many_redrives_is_over_the_cap_unless_forced() -> None:
    capped = letter(3, redrive_count=f"{MAX_REDRIVES:02d}")
    spans = {0: (0, 10)}

    assert DeadLetterSelection(spans).redrive_verdict(letter(3), ()) == "selected"
    assert DeadLetterSelection(spans).redrive_verdict(capped, ()) == "over_cap"
    assert DeadLetterSelection(spans, force=True).redrive_verdict(capped, ()) == "selected"


def test_a_settled_letter_is_not_redriven_even_by_force() -> None:
    assert (
        DeadLetterSelection({0: (0, 10)}, force=True).redrive_verdict(letter(3), {DeadLetterPlace(0, 3)}) == "settled"
    )


@given(st.integers(0, 20), st.integers(0, 20), st.integers(0, 20))
def test_letters_outside_the_plan_are_not_selected(begin: int, end: int, offset: int) -> None:
    selection = DeadLetterSelection({0: (begin, end)})

    assert selection.selects(letter(offset)) == (begin <= offset < end)


def test_only_the_named_letters_are_selected() -> None:
    selection = DeadLetterSelection(
        {0: (0, 10)}, frozenset({DeadLetterPlace(0, 3), DeadLetterPlace(1, 4), DeadLetterPlace(0, 12)})
    )

    assert [offset for offset in range(20) if selection.selects(letter(offset))] == [3]


def test_a_selection_survives_its_encoding() -> None:
    selection = DeadLetterSelection(
        {0: (2, 9), 3: (0, 1)}, frozenset({DeadLetterPlace(0, 3)}), DeadLetterFilter(cause="E", since=AT), force=True
    )

    assert DeadLetterSelection.from_json(selection.as_json()) == selection
    assert DeadLetterSelection.from_json(DeadLetterSelection({}).as_json()) == DeadLetterSelection({})


def test_facets_are_counted_and_sorted_by_frequency() -> None:
    letters = [letter(n, exception_class="A", stack_digest="x", stack_frame="m:f:1") for n in range(3)]
    letters += [letter(4, exception_class="B", stack_digest="y")]

    facets = count_facets(letters)

    assert facets["causes"] == [{"value": "A", "records": 3}, {"value": "B", "records": 1}]
    assert facets["stack_digests"][0] == {"value": "x", "records": 3, "frame": "m:f:1", "message": "", "example": "0/0"}
    assert facets["days"] == [{"value": "2031-05-04", "records": 4}]
