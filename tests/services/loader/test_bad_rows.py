"""A record that PostgreSQL refuses becomes a dead letter that says what it refused, and costs few statements."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from math import log2
from typing import Any

import psycopg
import pytest
from psycopg.errors import CheckViolation, ForeignKeyViolation

from services.loader.load import Loader
from services.loader.postgres_refusal import refusal_of
from shared.broker.contract import NewRecord
from shared.records import DecodedRecord
from shared.runtime.dead_letters.letter import dead_letter
from shared.runtime.loops.batch import BatchResult, process_batch
from shared.runtime.metrics import Metrics
from tests.services.loader.facts import PAID, StillClock, entry, listed, outcomes, paid, received, settled
from tests.services.loader.views import ask

Connection = psycopg.Connection[Any]


class CountingCursor(psycopg.Cursor[Any]):
    """Counts the statements of all cursors."""

    count = 0

    def execute(self, *arguments: Any, **options: Any) -> Any:
        CountingCursor.count += 1
        return super().execute(*arguments, **options)

    def copy(self, *arguments: Any, **options: Any) -> Any:
        CountingCursor.count += 1
        return super().copy(*arguments, **options)


def process(connection: Connection, facts: Sequence[Any]) -> BatchResult:
    """As the loop does: a savepoint for each attempt, in a transaction that the caller ends."""
    loader = Loader(StillClock(), Metrics())
    connection.execute("SELECT")  # begins the transaction

    def attempt(batch: Sequence[DecodedRecord]) -> list[NewRecord]:
        with connection.transaction():
            return loader.handle(batch, connection)

    records = [received(fact).record._replace(offset=offset) for offset, fact in enumerate(facts)]
    return process_batch(records, attempt)


def message_of(result: BatchResult) -> str:
    (failure,) = result.failures
    letter = dead_letter("loader", failure, datetime(2031, 5, 6, tzinfo=UTC))
    assert failure.attempts == 1
    return letter.headers["dlq.exception-message"].decode()


def entity(**fields: Any) -> Any:
    return listed(2, entries=(entry(1, entity={"entity_key": "river:1"} | fields),))


BAD_FACTS = {
    "a number out of the column's range": (
        settled(outcomes=outcomes(40_000)),
        ("out of range for type smallint", "SQLSTATE 22003", "table facts.outcomes", "column place"),
    ),
    "a number that is too large for its type": (
        listed(2, distance_m=2**31),
        ("SQLSTATE 22003", "table facts.events", "column distance_m"),
    ),
    "NUL in a text": (listed(2, title="a\0b"), ("0x00",)),
    "NUL in a name of a JSON column": (entity(categories={"a\0": 1}), ("SQLSTATE 22P05", "table facts.entities")),
    "the same slot twice in one fact": (
        listed(2, entries=(entry(1), entry(1, 102))),
        ("SQLSTATE 21000", "cannot affect row a second time"),
    ),
    "the same selection twice in one fact": (
        settled(transactions=(*paid(win={"1": 100}), *paid(win={"1": 200}))),
        ("SQLSTATE 21000",),
    ),
}


@pytest.mark.parametrize(("fact", "texts"), BAD_FACTS.values(), ids=BAD_FACTS)
def test_the_dead_letter_has_the_databases_message_and_place(
    connection: Connection, fact: Any, texts: tuple[str, ...]
) -> None:
    message = message_of(process(connection, [listed(1), fact, listed(3)]))

    assert message.startswith("PostgreSQL rejects a value of the record: ")
    assert [text for text in texts if text not in message] == [], message
    assert len(ask(connection, "SELECT FROM facts.events")) == 2


@pytest.mark.parametrize(
    ("field", "text", "expected"),
    [
        ("scheduled_at", b'"2031-05-06T03:30:00"', "scheduled_at: Input should have timezone info"),
        ("title", b'"\\ud800"', "unexpected end of hex escape"),
        ("title", b'"\xff"', "invalid unicode code point"),
        ("number", b"1e400", "number: "),
    ],
    ids=["a time without a zone", "half of a surrogate pair", "bytes that are no UTF-8", "an infinite number"],
)
def test_a_value_that_cannot_be_decoded_is_named(
    connection: Connection, field: str, text: bytes, expected: str
) -> None:
    record = received(listed(2, title="heat")).record
    values = {"scheduled_at": b'"2031-05-06T04:00:00Z"', "title": b'"heat"', "number": b'"number":2'}
    old = values[field]
    new = b'"number":' + text if field == "number" else text
    assert record.value.count(old) == 1

    loader = Loader(StillClock(), Metrics())
    result = process_batch(
        [record._replace(value=record.value.replace(old, new)), received(listed(1)).record._replace(offset=1)],
        lambda batch: loader.handle(batch, connection),
    )

    assert expected in message_of(result)
    assert len(ask(connection, "SELECT FROM facts.events")) == 1


def test_a_constraint_and_a_reference_are_named(connection: Connection) -> None:
    load_one(connection)
    with pytest.raises(CheckViolation) as refused, connection.transaction():
        connection.execute("INSERT INTO facts.transactions SELECT id, 'win', '1', -1, 1 FROM facts.events")
    assert "SQLSTATE 23514, constraint transactions_amount_check, table facts.transactions" in refusal_of(refused.value)

    with pytest.raises(ForeignKeyViolation) as dangling, connection.transaction():
        connection.execute("INSERT INTO facts.observations (event_id, slot) VALUES (-1, 1)")
    text = refusal_of(dangling.value)
    assert "SQLSTATE 23503, constraint observations_event_id_fkey, table facts.observations" in text


def test_a_sum_out_of_range_is_refused_for_the_record_that_exceeds_it(connection: Connection) -> None:
    largest = paid(win={"1": 2**63 - 1})

    result = process(
        connection, [listed(1), listed(2), settled(1, transactions=largest), settled(2, transactions=PAID)]
    )

    assert "SQLSTATE 22003" in message_of(result)
    assert ask(connection, "SELECT status FROM facts.events ORDER BY number") == [("settled",), ("listed",)]


def load_one(connection: Connection) -> None:
    assert process(connection, [listed(1)]).failures == []


@pytest.mark.parametrize("bad_count", [1, 3])
def test_bad_rows_cost_a_number_of_statements_that_grows_with_the_logarithm_of_the_batch(
    empty_url: str, bad_count: int
) -> None:
    facts: list[Any] = [listed(number) for number in range(1, 65)]
    with psycopg.connect(empty_url, cursor_factory=CountingCursor) as connection:
        process(connection, [listed(100)])  # creates the staging tables
        CountingCursor.count = 0
        process(connection, facts)
        whole_count = CountingCursor.count
        connection.rollback()
        process(connection, [listed(100)])
        bad = [facts[index].model_copy(update={"title": "a\0b"}) for index in (5, 30, 50)[:bad_count]]
        mixed = [next((each for each in bad if each.number == fact.number), fact) for fact in facts]
        CountingCursor.count = 0

        result = process(connection, mixed)

        count = CountingCursor.count
        connection.rollback()
    assert len(result.failures) == bad_count
    assert len(result.outputs) == len(facts) - bad_count
    assert count <= whole_count * (1 + 2 * bad_count * log2(len(facts)))
