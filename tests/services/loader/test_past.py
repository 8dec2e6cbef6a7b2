"""What was known earlier of an event, from its versions. tests/headrace/frames/as_of compares it with databases."""

from __future__ import annotations

from itertools import permutations
from typing import Any
from uuid import UUID

import pytest

from services.loader.as_of import StoredVersion
from services.loader.past import PastFact, past_facts
from tests.services.loader.facts import at, key, listed, observed, settled

CARD, RESULT, CORRECTION = listed(), settled(known=20), settled(known=30, technique=2)


def past_of(*facts: Any) -> list[PastFact]:
    numbers: dict[str, int] = {}
    stored: list[StoredVersion] = []
    for fact in facts:
        numbers[fact.kind] = numbers.get(fact.kind, 0) + 1
        stored.append(StoredVersion(fact.kind, numbers[fact.kind], "0", UUID(int=len(stored)), fact))
    return past_facts(key(), stored)


def test_an_event_with_one_version_of_each_kind_has_no_past() -> None:
    assert past_of(CARD, observed(), RESULT) == []


@pytest.mark.parametrize("facts", list(permutations([CARD, RESULT, CORRECTION])), ids=list("123456"))
def test_a_corrected_fact_was_known_until_its_correction(facts: tuple[Any, ...]) -> None:
    (past,) = past_of(*facts)
    assert past[:4] == ("settled", at(20), at(30), 1)
    assert past.fact["technique"] == 1
    assert [each["slot"] for each in past.fact["outcomes"]] == [1, 2, 3, 4]


def test_nothing_is_known_of_an_event_before_its_card() -> None:
    (past,) = past_of(listed(known=25), RESULT, CORRECTION)
    assert (past.valid_from, past.valid_to) == (at(25), at(30))


def test_an_undated_result_is_dated_by_the_schedule_that_was_known() -> None:
    """Moved to a later time, it is not known any more until then."""
    late = listed(known=10, scheduled_at=at(60))
    known = past_of(CARD, late, settled(known=None, known_after_s=300.0))
    assert [each[:4] for each in known] == [("listed", at(-300), at(10), 1), ("settled", at(5), at(10), 1)]
