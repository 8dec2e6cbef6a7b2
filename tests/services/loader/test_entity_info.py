"""Folding what cards state about an entity: in memory and in the table, with the same result."""

from __future__ import annotations

from datetime import datetime
from itertools import permutations
from typing import Any
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.loader.entity_info import DatedEntityInfo, fold_profiles, refold
from services.loader.load import Loader
from shared.events import EntityInfo
from shared.runtime.metrics import Metrics
from tests.services.loader.facts import StillClock, at, listed, received
from tests.services.loader.views import ask

pytestmark = pytest.mark.slow
Values = tuple[str | None, dict[str, Any], datetime]


def info(minutes: int, name: str | None, **categories: int) -> DatedEntityInfo:
    return DatedEntityInfo(
        at(minutes), "river", EntityInfo(entity_key="river:1", name=name, categories=dict(categories))
    )


def values_by_hand(profiles: list[DatedEntityInfo]) -> Values:
    """Name, categories and known_at, computed without the loader's code: replays the profiles by time."""
    name, categories, known_at = None, dict[str, Any](), at(0)
    for profile in sorted(profiles, key=lambda each: (each.known_at, each.record_id)):
        before = (name, dict(categories))
        name = profile.info.name or name
        categories.update(profile.info.categories)
        if (name, categories) != before or known_at == at(0):
            known_at = profile.known_at
    return name, categories, known_at


def test_a_card_that_repeats_known_values_changes_nothing() -> None:
    first = info(1, "A", branch=1)
    for later in (info(2, "A", branch=1), info(3, None), info(4, "A")):
        assert fold_profiles([first, later]) == fold_profiles([later, first]) == first


def test_the_newest_different_value_wins_and_keeps_its_time() -> None:
    infos = [info(1, "A", branch=1), info(2, "A", branch=2), info(3, "A", branch=2)]
    for order in permutations(infos):
        assert fold_profiles(order) == infos[1]


def test_a_value_that_returns_is_the_current_one() -> None:
    infos = [info(1, "A", branch=1), info(2, "A", branch=2), info(3, "A", branch=1)]
    for order in permutations(infos):
        assert fold_profiles(order) == infos[2]


def test_a_value_that_a_newer_card_lacks_is_kept() -> None:
    infos = [info(1, "A", branch=1, birthplace=4), info(2, None, branch=2)]
    for order in permutations(infos):
        assert fold_profiles(order) == info(2, "A", branch=2, birthplace=4)


def test_a_part_suffices_if_its_first_profile_states_all_and_a_later_one_changes_a_value() -> None:
    before, part = info(2, "A", branch=1), [info(2, "A", branch=1), info(3, "A", branch=2)]
    assert refold(before, part, is_start=False) == part[1]
    assert refold(before, [info(2, None, branch=1), part[1]], is_start=False) is None
    assert refold(info(2, "A", branch=1, c=1), part, is_start=False) is None


def test_a_part_that_ends_before_the_stored_fold_suffices_only_if_the_result_is_equal() -> None:
    part = [info(1, "A", branch=1), info(2, "A", branch=2)]
    assert refold(info(2, "A", branch=2), part, is_start=True) == part[1]
    assert refold(info(2, "A", branch=3), part, is_start=True) is None


info_lists = st.lists(
    st.builds(
        lambda minutes, name, categories: info(minutes, name, **categories),
        st.integers(1, 6),
        st.sampled_from([None, "A", "B"]),
        st.dictionaries(st.sampled_from(["branch", "birthplace"]), st.integers(1, 2)),
    ),
    min_size=2,
    max_size=7,
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(info_lists, st.data())
def test_any_order_of_arrival_at_two_loaders_gives_the_fold(
    connection: psycopg.Connection[Any], infos: list[DatedEntityInfo], data: st.DataObject
) -> None:
    loaders = [Loader(StillClock(), Metrics(), slot) for slot in "01"]
    profiles = [each._replace(record_id=UUID(int=number)) for number, each in enumerate(infos, start=1)]
    # Drawn before the first write: Hypothesis may end an example at any draw.
    order = data.draw(st.permutations(range(len(profiles))))
    slots = data.draw(st.lists(st.integers(0, 1), min_size=len(order), max_size=len(order)))
    for number, slot in zip(order, slots, strict=True):
        profile = profiles[number]
        card = listed(number + 1, entries=({"slot": 1, "entity": profile.info},)).model_copy(
            update={"known_at": profile.known_at}
        )
        loaders[slot].handle([received(card, profile.record_id)], connection)
    rows = ask(connection, "SELECT name, categories, known_at FROM analytics.entities")
    connection.rollback()
    assert rows == [values_by_hand(profiles)]
