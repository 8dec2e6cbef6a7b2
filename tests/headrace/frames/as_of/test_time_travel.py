"""What was known at an instant equals a database into which only that was loaded, in every view and row."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pandas as pd
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from headrace.frames.as_of.snapshot import table_of
from headrace.frames.catalogue import VIEWS
from headrace.frames.typed import frame_of
from services.loader.load import Loader
from services.loader.rows import json_text
from shared.events import Conditions, EntityInfo, Outcome, Reference, ReferenceRow
from shared.records import DecodedRecord
from shared.runtime.metrics import Metrics
from tests.headrace.frames.as_of.reading import assert_equal, frames_as_of, frames_now
from tests.services.loader.facts import (
    DAY,
    PAID,
    SOURCE,
    START,
    StillClock,
    at,
    entry,
    key,
    listed,
    observed,
    outcomes,
    paid,
    prediction,
    received,
    settled,
)

Connection = psycopg.Connection[Any]
NEXT_DAY = DAY + timedelta(days=1)
TEXTS = {"event_key", "market", "selection"}

promoted = entry(2, entity=EntityInfo(entity_key="river:102", name="racer river:102", categories={"class": 1}))
cards_after = (entry(1), promoted, entry(3), entry(4))
unknown = tuple({"slot": slot} for slot in range(1, 5))
VENUES = Reference(
    source=SOURCE, event_key=f"{SOURCE}:venues", known_at=at(-9000), document_hash="v" * 64, table="venues",
    rows=(ReferenceRow(code="7", name="Lakeside"),),
)  # fmt: skip

# Corrections, losses, late parents, a substitution, a result that is known late, an event that is called off and takes
# place on the next day, and one that is called off for good. In the order of arrival.
FACTS = [
    VENUES,
    listed(1),
    listed(1, known=-250, entries=unknown, card_key=None),
    listed(1, known=-200, scheduled_at=at(2), entries=cards_after),
    listed(1, known=-100, scheduled_at=at(2), entries=(entry(1), promoted, entry(3, 177), entry(4))),
    observed(1, known=-12, entries=()),
    observed(1, known=-10),
    observed(1, known=-8, conditions=Conditions(weather=2)),
    settled(1, known=18, status="provisional", outcomes=(Outcome(slot=1, course=1),), transactions=()),
    settled(1, known=20, transactions=paid(win={"1": 160}), missing_markets=("place", "place")),
    settled(1, known=25),
    settled(1, known=30, status="provisional", transactions=()),
    settled(1, known=35, outcomes=outcomes(2, 1, 4, 3), technique=None),
    observed(2, known=-20),  # before its event is listed
    listed(2, known=-5, entries=cards_after),
    settled(2, known=None, known_after_s=900.0, status="provisional", outcomes=outcomes(2, 1, None, None)),
    settled(2, known=60, outcomes=outcomes(2, 1, None, 3, codes={3: 14}), transactions=paid(win={"2": 210})),
    settled(2, known=70, outcomes=outcomes(2, 1, None, 3, codes={3: 9}), transactions=PAID),
    listed(3),
    settled(3, known=10, status="cancelled", outcomes=(), transactions=(), technique=None, conditions=Conditions()),
    listed(3, known=-1200, day=NEXT_DAY, card_key="card 7/3", entries=cards_after),  # from 240 minutes after START
    listed(4),
    settled(4, known=15, status="void", outcomes=(), transactions=()),
    listed(5, known=-290, entries=(entry(1), entry(2, 188))),
    settled(5, known=40, status="cancelled", outcomes=(), transactions=(), technique=None, conditions=Conditions()),
]
RECORD = UUID(int=7)
# A record that is cleaned again by a replay, which counts as another version in place of the first.
REPLAYED = [
    received(settled(6, known=45, technique=2), RECORD),
    received(settled(6, known=45, technique=3), RECORD, revision="17"),
]
RECORDS = [*map(received, [*FACTS, listed(6)]), *REPLAYED]
PREDICTIONS = [prediction(1)]
INSTANTS = [-301, -300, -260, -225, -150, -50, -11, -7, -5, 0, 12, 19, 22, 28, 32, 41, 47, 62, 75, 239, 240, 9999]


def load(connection: Connection, items: Sequence[DecodedRecord], limit: datetime | None = None) -> None:
    Loader(StillClock(START), Metrics(), as_of_limit=limit).handle(items, connection)


def load_one_by_one(connection: Connection) -> None:
    for record in RECORDS:
        load(connection, [record])
    load(connection, PREDICTIONS)


def frames_of_time_travel(connection: Connection, instant: datetime) -> dict[str, pd.DataFrame]:
    with connection.transaction(force_rollback=True):
        load(connection, RECORDS, instant)
        load(connection, [each for each in PREDICTIONS if each.message.as_of <= instant])
        return frames_now(connection)


def test_every_view_equals_a_run_as_of_the_instant(connection: Connection) -> None:
    expected = {minutes: frames_of_time_travel(connection, at(minutes)) for minutes in INSTANTS}
    load_one_by_one(connection)

    for minutes in INSTANTS:
        frames = frames_as_of(connection, at(minutes))
        assert_equal(frames, expected[minutes])
        assert_sql_equals_frames(connection, frames, at(minutes))

    whole = frames_now(connection)
    assert_equal(frames_as_of(connection, at(9999)), whole)
    filled = {name for frames in (whole, *expected.values()) for name, frame in frames.items() if len(frame)}
    assert filled == {
        "sessions", "events", "entities", "entity_history", "entries", "observations", "outcomes", "transactions",
        "return_rates", "predictions", "prediction_scores", "regressions", "corrections", "results", "venues",
    }  # fmt: skip


def assert_sql_equals_frames(connection: Connection, frames: dict[str, pd.DataFrame], instant: datetime) -> None:
    """The SQL functions give the rows of the frames, and so do the ranges of knowledge that contain the instant."""
    for name in ("events", "outcomes", "transactions"):
        view = VIEWS[name]
        columns = ", ".join(f'v."{column}"' for column in view.names)
        order = ", ".join(f'v."{column}" COLLATE "C"' if column in TEXTS else f'v."{column}"' for column in view.key)
        query = f"SELECT {columns} FROM analytics.{name}_as_of(%s) v ORDER BY {order}"
        table = table_of(view.columns, [_as_rows(row) for row in connection.execute(query.encode(), (instant,))])
        assert_frame_equal(frame_of(table, view.columns), frames[name], obj=name)


def _as_rows(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """JSON as text, as frames read it."""
    return tuple(json_text(value) if isinstance(value, dict) else value for value in row)


def test_ranges_of_knowledge_do_not_overlap(connection: Connection) -> None:
    load_one_by_one(connection)

    for kind in ("listed", "observed", "settled"):
        ranges = connection.execute(
            f"SELECT valid_from, valid_to, lead(valid_from) OVER (PARTITION BY event_key ORDER BY valid_from)"
            f" FROM analytics.{kind}_history".encode()
        ).fetchall()
        assert any(end for _, end, _ in ranges)
        assert all(end is None if later is None else begin < end <= later for begin, end, later in ranges)


def test_the_instants_differ(connection: Connection) -> None:
    """The comparison above says nothing about instants at which the same is known."""
    load_one_by_one(connection)
    seen = [frames_as_of(connection, at(minutes)) for minutes in INSTANTS]
    status = [dict(zip(each["events"].event_key, each["events"].status, strict=True)) for each in seen]

    assert status[0] == {}
    assert status[INSTANTS.index(12)][key(3)] == "cancelled"
    assert status[INSTANTS.index(240)][key(3)] == "postponed"
    assert len({str({name: frame.to_dict() for name, frame in each.items()}) for each in seen}) >= len(INSTANTS) - 4


@pytest.mark.parametrize(
    "selection", [{"day": DAY}, {"span": f"{DAY}/{NEXT_DAY}", "venue": 7}, {"from_day": NEXT_DAY}, {"venue": 8}]
)
def test_a_selection_has_the_rows_of_a_run_as_of_the_instant(connection: Connection, selection: dict[str, Any]) -> None:
    with connection.transaction(force_rollback=True):
        load(connection, RECORDS, at(240))
        load(connection, PREDICTIONS)
        expected = frames_now(connection, **selection)
    load_one_by_one(connection)

    assert_equal(frames_as_of(connection, at(240), **selection), expected)


CARDS = {
    "same": tuple(entry(slot) for slot in range(1, 5)),
    "heavier": tuple(entry(slot, measures={"weight_kg": 60.0}) for slot in range(1, 5)),
    "substitute": (entry(1), entry(2, 190), entry(3), entry(4)),
    "empty": unknown,
}
numbers, known = st.integers(1, 3), st.integers(-8, 8).map(lambda step: step * 10.0)
days = st.sampled_from([DAY, NEXT_DAY])
versions = st.one_of(
    st.builds(
        lambda number, known, day, entries, delay: listed(
            number, known=known, day=day, entries=CARDS[entries], scheduled_at=at(delay), card_key=f"card {number}"
        ),
        numbers, known, days, st.sampled_from(sorted(CARDS)), st.sampled_from([0, 5]),
    ),
    st.builds(
        lambda number, known, weather: observed(number, known=known, conditions=Conditions(weather=weather)),
        numbers, known, st.sampled_from([None, 1, 2]),
    ),
    st.builds(
        lambda number, known, status, places: settled(
            number, known=known, status=status, outcomes=outcomes(*places), transactions=PAID if places else ()
        ),
        numbers, known, st.sampled_from(["settled", "void", "cancelled", "provisional"]),
        st.sampled_from([(), (1, 2, 3, 4), (2, 1, 3, 4), (1, 2)]),
    ),
)  # fmt: skip


@pytest.mark.slow
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(versions, min_size=1, max_size=14), st.integers(-9, 24 * 6 + 9), st.sets(st.integers(1, 13)))
def test_any_versions_give_what_a_load_of_the_known_ones_gives(
    connection: Connection, facts: list[Any], instant: int, cuts: set[int]
) -> None:
    limit = at(instant * 10.0)
    with connection.transaction(force_rollback=True):
        load(connection, [received(fact) for fact in facts if fact.known_at <= limit])
        expected = frames_now(connection)
    with connection.transaction(force_rollback=True):
        for begin, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(facts)], strict=True):
            load(connection, [received(fact) for fact in facts[begin:end]])
        actual = frames_as_of(connection, limit)
        assert_sql_equals_frames(connection, actual, limit)
    assert_equal(actual, expected)
