"""Merging what cards state about an entity: in memory and in the table, with the same result."""

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


def info(minutes: int, name: str | None, **categories: int) -> DatedEntityInfo:
    return DatedEntityInfo(at(minutes), "river", EntityInfo(entity_key="river:1", name=name, categories=categories))


def test_a_card_that_repeats_known_values_changes_nothing() -> None:
    first = info(1, "A", branch=1)
    for later in (info(2, "A", branch=1), info(3, None), info(4, "A")):
        assert merge(first, later) == merge(later, first) == first


def test_the_newest_different_value_wins_and_keeps_its_time() -> None:
    infos = [info(1, "A", branch=1), info(2, "A", branch=2), info(3, "A", branch=2)]
    for order in permutations(infos):
        assert reduce(merge, order) == infos[1]


def test_a_value_that_a_newer_card_lacks_is_kept() -> None:
    infos = [info(1, "A", branch=1, birthplace=4), info(2, None, branch=2)]
    for order in permutations(infos):
        assert reduce(merge, order) == info(2, "A", branch=2, birthplace=4)


info_lists = st.lists(
    st.builds(
        lambda minutes, name, categories: info(minutes, name, **categories),
        st.integers(1, 4),
        st.sampled_from([None, "A", "B"]),
        st.dictionaries(st.sampled_from(["branch", "birthplace"]), st.integers(1, 2)),
    ),
    min_size=2,
    max_size=4,
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(info_lists)
def test_rows_are_merged_like_facts_in_memory(
    connection: psycopg.Connection[Any], infos: list[DatedEntityInfo]
) -> None:
    loader = Loader(StillClock(), Metrics())
    for number, each in enumerate(infos, start=1):
        card = listed(number, entries=({"slot": 1, "entity": each.info},)).model_copy(
            update={"known_at": each.known_at}
        )
        loader.handle([received(card)], connection)
    rows = ask(connection, "SELECT name, categories, known_at FROM analytics.entities")
    connection.rollback()
    expected = reduce(merge, infos)
    assert rows == [(expected.info.name, expected.info.categories, expected.known_at)]
