"""A record that is delivered again changes no row and emits no second loaded-event.

Kafka can expose such ghosts to its readers; tests/shared/broker/kafka/test_ghosts.py produces them. Here each record
may be delivered again at any later place, any number of times.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.loader.load import Loader
from shared.broker.contract import NewRecord
from shared.events import Reference, ReferenceRow
from shared.records import DecodedRecord
from shared.runtime.metrics import Metrics
from tests.services.loader.facts import SOURCE, START, StillClock, at, outcomes, prediction, received, settled
from tests.services.loader.test_interleavings import FACTS, cuts, orders
from tests.services.loader.views import Tables, ask, tables

pytestmark = pytest.mark.slow
Connection = psycopg.Connection[Any]


def venue_names(minutes: float, name: str) -> Reference:
    return Reference(
        source=SOURCE,
        event_key=f"{SOURCE}:reference:venues",
        known_at=at(minutes),
        document_hash="d" * 64,
        table="venues",
        rows=(ReferenceRow(code="7", name=name),),
    )


RESULT = received(settled(1, known=27))
# Predictions, reference data in two versions, and a result that a replay changed.
LATER = [
    received(venue_names(-20, "Old weir")),
    prediction(1),
    RESULT,
    received(venue_names(-10, "New weir")),
    prediction(2),
    received(settled(1, known=27, outcomes=outcomes(1, 2, 3, None)), RESULT.event_id, revision="replay-1"),
    received(settled(9)),
]
COUNT = len(FACTS) + len(LATER)


class Ghost(NamedTuple):
    """Record number `of` is delivered again before record number `before`."""

    of: int
    before: int


ghost_lists = st.lists(
    st.builds(Ghost, st.integers(0, COUNT - 1), st.integers(1, COUNT)).filter(lambda ghost: ghost.of < ghost.before),
    min_size=1,
    max_size=12,
)


class LoadResult(NamedTuple):
    """Everything that loading leaves. `emitted` has no row ids, because they differ from run to run."""

    views: Tables
    versions: list[Any]
    parked: list[Any]
    export_days: list[Any]
    emitted: list[Any]


def load(
    connection: Connection, records: Sequence[DecodedRecord], cuts: set[int], ghosts: Sequence[Ghost]
) -> LoadResult:
    loader, emitted = Loader(StillClock(START), Metrics()), []
    ends = [*sorted(cuts), len(records)]
    for begin, end in zip([0, *ends], ends, strict=False):
        batch: list[DecodedRecord] = []
        for index in range(begin, end):
            batch += [delivered_again(records[ghost.of], ghost.before) for ghost in ghosts if ghost.before == index]
            batch.append(records[index])
        emitted += loader.handle(batch, connection)
    last = [delivered_again(records[ghost.of], ghost.before) for ghost in ghosts if ghost.before == len(records)]
    emitted += loader.handle(last, connection)
    result = LoadResult(
        tables(connection),
        ask(
            connection,
            "SELECT event_key, v.kind, v.version, v.revision, v.record_id, v.known_at FROM facts.versions v"
            " JOIN facts.events e ON e.id = v.event_id ORDER BY 1, 2, 3",
        ),
        ask(connection, "SELECT * FROM facts.parked ORDER BY record_id"),
        ask(connection, "SELECT date, touched FROM facts.export_days ORDER BY 1"),
        [without_row_id(record) for record in emitted],
    )
    connection.rollback()
    return result


def in_order(records: Sequence[DecodedRecord]) -> list[DecodedRecord]:
    return [with_offset(record, offset) for offset, record in enumerate(records)]


def delivered_again(record: DecodedRecord, before: int) -> DecodedRecord:
    return with_offset(record, COUNT + before)


def with_offset(record: DecodedRecord, offset: int) -> DecodedRecord:
    return record._replace(record=record.record._replace(offset=offset))


def without_row_id(record: NewRecord) -> Any:
    return record.headers["event_id"], {**orjson.loads(record.value), "row_id": None}


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(orders, cuts, ghost_lists)
def test_records_that_are_delivered_again_change_nothing(
    connection: Connection, order: list[int], cuts: set[int], ghosts: list[Ghost]
) -> None:
    records = in_order([received(FACTS[index]) for index in order] + LATER)
    expected = load(connection, records, cuts, [])

    actual = load(connection, records, cuts, ghosts)

    assert actual == expected


def test_all_records_delivered_again_change_nothing(connection: Connection) -> None:
    records = in_order([received(fact) for fact in FACTS] + LATER)
    expected = load(connection, records, set(), [])
    assert len(expected.emitted) > len(FACTS) // 2  # some facts change nothing, because a newer one came first
    assert len(expected.parked) == 1

    actual = load(connection, records, set(), [Ghost(index, COUNT) for index in range(COUNT)])

    assert actual == expected
