"""Attributes of entities over time: ranges that neither overlap nor leave a gap, and what was known at an instant."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.loader.load import Loader
from shared.runtime.metrics import Metrics
from tests.services.loader.conftest import Load
from tests.services.loader.facts import StillClock, at, entry, listed, received
from tests.services.loader.views import ask

Connection = psycopg.Connection[Any]
RANGES = "SELECT value, valid_from, valid_to FROM analytics.entity_history WHERE attribute = %s ORDER BY valid_from"


def card(number: int, minutes: float, **categories: int) -> Any:
    return listed(number, known=minutes, entries=(entry(1, categories_of={**categories}),))


def test_a_value_is_valid_until_a_card_states_another(connection: Connection, load: Load) -> None:
    load(card(3, -100, **{"class": 1}), card(1, -300, **{"class": 1}))
    load(card(4, -50, **{"class": 1}), card(2, -200, **{"class": 3}))

    assert connection.execute(RANGES, ("class",)).fetchall() == [
        (1, at(-300), at(-200)),
        (3, at(-200), at(-100)),
        (1, at(-100), None),
    ]
    assert [row[0] for row in connection.execute(RANGES, ("weight_kg",))] == [51.0]


def test_entities_as_of_an_instant_have_what_cards_had_stated_by_then(connection: Connection, load: Load) -> None:
    load(card(1, -300, branch=4), card(2, -200, **{"class": 3}))
    query = "SELECT categories, measures, stated_at FROM analytics.entities_as_of(%s)"

    assert connection.execute(query, (at(-301),)).fetchall() == []
    measures = {"weight_kg": 51.0, "age_years": 30.0}
    assert connection.execute(query, (at(-300),)).fetchall() == [({"class": 2, "branch": 4}, measures, at(-300))]
    assert connection.execute(query, (at(0),)).fetchall() == [({"class": 3, "branch": 4}, measures, at(-200))]


def test_two_profiles_of_one_time_are_one_key(connection: Connection, load: Load) -> None:
    load(card(1, -300))

    with pytest.raises(psycopg.errors.UniqueViolation), connection.transaction():
        connection.execute("INSERT INTO facts.profiles SELECT * FROM facts.profiles")


def ranges_by_hand(cards: list[tuple[int, int]]) -> list[tuple[int, datetime, datetime | None]]:
    by_time = {at(minutes): value for minutes, value in cards}
    changes: list[tuple[int, datetime]] = []
    for time, value in sorted(by_time.items()):
        if not changes or changes[-1][0] != value:
            changes.append((value, time))
    ends = [time for _, time in changes[1:]] + [None]
    return [(value, time, end) for (value, time), end in zip(changes, ends, strict=True)]


@pytest.mark.slow
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(1, 6), st.integers(1, 3)), min_size=1, max_size=7), st.randoms())
def test_ranges_do_not_depend_on_the_order_of_arrival(
    connection: Connection, cards: list[tuple[int, int]], random: Any
) -> None:
    loader = Loader(StillClock(), Metrics())
    records = [
        received(card(number, minutes, **{"class": value}), UUID(int=number))
        for number, (minutes, value) in enumerate(cards, start=1)
    ]
    random.shuffle(records)
    for each in records:
        loader.handle([each], connection)
    ranges = connection.execute(RANGES, ("class",)).fetchall()
    current = ask(connection, "SELECT categories FROM analytics.entities")
    connection.rollback()

    assert ranges == ranges_by_hand(cards)
    assert current == [({"class": ranges[-1][0]},)]
