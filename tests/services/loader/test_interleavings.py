"""Any order of arrival and any batches give the same tables, also if events are listed after their other facts."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.loader.load import Loader
from shared.events import Conditions, EntityInfo, Outcome, SessionInfo
from shared.runtime.metrics import Metrics
from tests.services.loader.conftest import loaded_events_of
from tests.services.loader.facts import (
    PAID,
    START,
    StillClock,
    at,
    entry,
    key,
    listed,
    observed,
    outcomes,
    paid,
    received,
    settled,
)
from tests.services.loader.views import Tables, tables

pytestmark = pytest.mark.slow
Connection = psycopg.Connection[Any]

promoted = entry(2, entity=EntityInfo(entity_key="river:102", name="racer river:102", categories={"class": 1}))
unknown = tuple({"slot": slot} for slot in range(1, 5))


def session(title: str | None, grade: int | None = None) -> SessionInfo:
    return listed().session.model_copy(update={"title": title, "grade": grade})


# Two events of one session in many versions: filled in, lost, restored, corrected, moved, repeated as history. The
# cards state different titles of the session.
FACTS = [
    listed(1),
    listed(1, known=-150, session=session("Autumn Cup", 4)),
    listed(2, known=-150, session=session("Winter Cup")),
    listed(2, known=-310, session=session("Summer Cup", 5), distance_m=1200),
    settled(1, known=24, technique=2),
    settled(1, known=26, technique=3),
    listed(1, known=-250, entries=unknown, card_key=None),
    listed(1, known=-200, scheduled_at=at(2), entries=(entry(1), promoted, entry(3), entry(4))),
    observed(1, known=-12, entries=()),
    observed(1, known=-10),
    observed(1, known=-8, conditions=Conditions(weather=2)),
    settled(1, known=18, status="provisional", outcomes=(Outcome(slot=1, course=1),), transactions=()),
    settled(1, known=20, transactions=paid(win={"1": 160}), missing_markets=("place", "place")),
    settled(1, known=25),
    settled(1, known=30, status="provisional", transactions=()),
    settled(1, known=35, outcomes=outcomes(1, 2, 4, 3), technique=None),
    listed(2),
    settled(2, known=None, known_after_s=900.0, status="provisional", outcomes=outcomes(2, 1, None, None)),
    settled(2, known=60, outcomes=outcomes(2, 1, None, 3, codes={3: 14}), transactions=paid(win={"2": 210})),
    settled(2, known=70, outcomes=outcomes(2, 1, None, 3, codes={3: 9}), transactions=PAID),
]

orders = st.permutations(range(len(FACTS)))
cuts = st.sets(st.integers(1, len(FACTS) - 1))


def load(connection: Connection, order: list[int], cuts: set[int]) -> tuple[Tables, set[str]]:
    """Loads the facts in this order, cut into batches; returns the views and the facts that were emitted."""
    loader, emitted = Loader(StillClock(START), Metrics()), set()
    ends = [*sorted(cuts), len(order)]
    for begin, end in zip([0, *ends], ends, strict=False):
        for item in loaded_events_of(loader.handle([received(FACTS[index]) for index in order[begin:end]], connection)):
            assert item.kind == "listed" or f"{item.event_key} listed" in emitted
            emitted.add(f"{item.event_key} {item.kind}")
    views = tables(connection)
    connection.rollback()
    return views, emitted


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(orders, cuts)
def test_any_interleaving_gives_the_same_tables(connection: Connection, order: list[int], cuts: set[int]) -> None:
    expected, all_emitted = load(connection, list(range(len(FACTS))), set())
    views, emitted = load(connection, order, cuts)
    assert views == expected
    assert emitted == all_emitted
    assert views["parked"] == []


def test_the_compared_tables_are_not_empty(connection: Connection) -> None:
    expected, _ = load(connection, list(range(len(FACTS))), set())
    filled = {name for name, rows in expected.items() if rows}
    assert {
        "sessions",
        "events",
        "entities",
        "entity_history",
        "listed_history",
        "observed_history",
        "settled_history",
        "outcome_history",
        "transaction_history",
        "entries",
        "observations",
        "outcomes",
        "transactions",
        "return_rates",
        "regressions",
        "corrections",
        "venues",
    } == filled
    assert key(1) in expected["events"][0]
