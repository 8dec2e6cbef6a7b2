"""Records that come again, whenever and among whatever: they change no row and are told downstream no second time.

A broker can do that to its readers; tests/shared/broker/kafka/test_ghosts.py makes it happen. Here any record may come
again in any later place, as often as it likes.
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
from tests.services.loader.facts import SOURCE, START, StillClock, at, outcomes, received, settled
from tests.services.loader.test_interleavings import FACTS, cuts, orders
from tests.services.loader.test_load import prediction
from tests.services.loader.views import Tables, ask, tables

pytestmark = pytest.mark.slow
Connection = psycopg.Connection[Any]


def names(minutes: float, name: str) -> Reference:
    return Reference(
        source=SOURCE,
        event_key=f"{SOURCE}:reference:venues",
        known_at=at(minutes),
        document_hash="d" * 64,
        table="venues",
        rows=(ReferenceRow(code="7", name=name),),
    )


RESULT = received(settled(1, known=27))
# What needs its event listed, base data in two versions, and a result told anew by a replay under changed rules.
LATER = [
    received(names(-20, "Old weir")),
    prediction(1),
    RESULT,
    received(names(-10, "New weir")),
    prediction(2),
    received(settled(1, known=27, outcomes=outcomes(1, 2, 3, None)), RESULT.event_id, revision="replay-1"),
    received(settled(9)),
]
COUNT = len(FACTS) + len(LATER)


class Ghost(NamedTuple):
    """A record that comes again: which, and before which one it does."""

    of: int
    before: int


ghosts = st.lists(
    st.builds(Ghost, st.integers(0, COUNT - 1), st.integers(1, COUNT)).filter(lambda ghost: ghost.of < ghost.before),
    min_size=1,
    max_size=12,
)


class Seen(NamedTuple):
    """What came of it all; `said` without the ids of rows, which are another's each time."""

    shown: Tables
    versions: list[Any]
    parked: list[Any]
    touched: list[Any]
    said: list[Any]


def load(connection: Connection, records: Sequence[DecodedRecord], cuts: set[int], haunting: Sequence[Ghost]) -> Seen:
    loader, said = Loader(StillClock(START), Metrics()), []
    ends = [*sorted(cuts), len(records)]
    for begin, end in zip([0, *ends], ends, strict=False):
        batch: list[DecodedRecord] = []
        for index in range(begin, end):
            batch += [again(records[ghost.of], ghost.before) for ghost in haunting if ghost.before == index]
            batch.append(records[index])
        said += loader.handle(batch, connection)
    last = [again(records[ghost.of], ghost.before) for ghost in haunting if ghost.before == len(records)]
    said += loader.handle(last, connection)
    seen = Seen(
        tables(connection),
        ask(
            connection,
            "SELECT event_key, v.kind, v.version, v.revision, v.record_id, v.known_at FROM facts.versions v"
            " JOIN facts.events e ON e.id = v.event_id ORDER BY 1, 2, 3",
        ),
        ask(connection, "SELECT * FROM facts.parked ORDER BY record_id"),
        ask(connection, "SELECT date, touched FROM facts.export_days ORDER BY 1"),
        [without_row_id(record) for record in said],
    )
    connection.rollback()
    return seen


def in_order(records: Sequence[DecodedRecord]) -> list[DecodedRecord]:
    return [placed(record, offset) for offset, record in enumerate(records)]


def again(record: DecodedRecord, before: int) -> DecodedRecord:
    return placed(record, COUNT + before)


def placed(record: DecodedRecord, offset: int) -> DecodedRecord:
    return record._replace(record=record.record._replace(offset=offset))


def without_row_id(record: NewRecord) -> Any:
    return record.headers["event_id"], {**orjson.loads(record.value), "row_id": None}


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(orders, cuts, ghosts)
def test_ghosts_change_nothing(connection: Connection, order: list[int], cuts: set[int], haunting: list[Ghost]) -> None:
    records = in_order([received(FACTS[index]) for index in order] + LATER)
    expected = load(connection, records, cuts, [])

    found = load(connection, records, cuts, haunting)

    assert found == expected


def test_everything_at_once_again_changes_nothing(connection: Connection) -> None:
    records = in_order([received(fact) for fact in FACTS] + LATER)
    expected = load(connection, records, set(), [])
    assert len(expected.said) >= len(FACTS)
    assert len(expected.parked) == 1

    found = load(connection, records, set(), [Ghost(index, COUNT) for index in range(COUNT)])

    assert found == expected
