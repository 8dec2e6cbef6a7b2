"""What the cards say of an entity, and that rows are merged as facts in memory are."""

from __future__ import annotations

from functools import reduce
from itertools import permutations
from typing import Any

import psycopg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.loader.entity_info import DatedEntityInfo, merge
from services.loader.load import Loader
from shared.events import EntityInfo
from shared.runtime.metrics import Metrics
from tests.services.loader.facts import StillClock, at, listed, received
from tests.services.loader.views import ask


def sighting(minutes: int, name: str | None, **categories: int) -> DatedEntityInfo:
    return DatedEntityInfo(at(minutes), "river", EntityInfo(entity_key="river:1", name=name, categories=categories))


def test_a_card_that_only_repeats_moves_nothing() -> None:
    first = sighting(1, "A", branch=1)
    for later in (sighting(2, "A", branch=1), sighting(3, None), sighting(4, "A")):
        assert merge(first, later) == merge(later, first) == first


def test_the_newest_other_value_holds_since_it_is_known() -> None:
    seen = [sighting(1, "A", branch=1), sighting(2, "A", branch=2), sighting(3, "A", branch=2)]
    for order in permutations(seen):
        assert reduce(merge, order) == seen[1]


def test_what_a_newer_card_does_not_know_stays() -> None:
    seen = [sighting(1, "A", branch=1, birthplace=4), sighting(2, None, branch=2)]
    for order in permutations(seen):
        assert reduce(merge, order) == sighting(2, "A", branch=2, birthplace=4)


sightings = st.lists(
    st.builds(
        lambda minutes, name, categories: sighting(minutes, name, **categories),
        st.integers(1, 4),
        st.sampled_from([None, "A", "B"]),
        st.dictionaries(st.sampled_from(["branch", "birthplace"]), st.integers(1, 2)),
    ),
    min_size=2,
    max_size=4,
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sightings)
def test_rows_are_merged_as_facts_in_memory_are(
    connection: psycopg.Connection[Any], seen: list[DatedEntityInfo]
) -> None:
    loader = Loader(StillClock(), Metrics())
    for number, each in enumerate(seen, start=1):
        card = listed(number, entries=({"slot": 1, "entity": each.info},)).model_copy(
            update={"known_at": each.known_at}
        )
        loader.handle([received(card)], connection)
    found = ask(connection, "SELECT name, categories, known_at FROM analytics.entities")
    connection.rollback()
    expected = reduce(merge, seen)
    assert found == [(expected.info.name, expected.info.categories, expected.known_at)]
