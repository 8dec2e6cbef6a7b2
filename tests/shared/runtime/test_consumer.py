"""The consumer loop on a real log: what fails, what waits, what goes on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from uuid import UUID

import psycopg
import pytest

from headrace.embedded import EmbeddedPostgres
from shared.broker.contract import DbConnection, NewRecord
from shared.broker.postgres_broker import PostgresBroker
from shared.errors import ConfigError, HeadraceError, InvalidEvent, TransientError
from shared.records import Received
from shared.runtime.consumer import ConsumerLoop
from shared.runtime.metrics import Metrics
from shared.topics import CLEAN, RAW
from tests.contract.database import empty_log
from tests.shared.runtime.deadline import eventually
from tests.shared.runtime.stage import (
    advanced,
    append,
    broker_on,
    contents,
    number_of,
    numbers,
    out,
    raw,
    running,
)

Make = Callable[..., ConsumerLoop]


@pytest.fixture
def url(postgres: EmbeddedPostgres) -> Iterator[str]:
    with empty_log(postgres) as url:
        yield url


@pytest.fixture
def broker(url: str) -> Iterator[PostgresBroker]:
    broker = broker_on(url)
    yield broker
    broker.close()


@pytest.fixture
def rows(url: str) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    """A connection to a database with a table that a handler may fill."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE rows (number integer PRIMARY KEY CHECK (number <> 3), note text)")
        connection.execute("CREATE INDEX ON rows (note)")
        yield connection
        connection.execute("DROP TABLE rows")


def loop_of(broker: PostgresBroker, **parts: Any) -> ConsumerLoop:
    given: dict[str, Any] = {"service": "cleaner", "slot": "0", "reads": [RAW], "metrics": Metrics(), **parts}
    return ConsumerLoop(broker, **given)


def copy(batch: Sequence[Received]) -> list[NewRecord]:
    return [out(received) for received in batch]


def refusing(*bad: int, error: type[Exception] = InvalidEvent) -> Callable[[Sequence[Received]], list[NewRecord]]:
    """Handles a batch as a whole; fails when a bad one is in it, as a handler does that looks at all of them."""

    def handle(batch: Sequence[Received]) -> list[NewRecord]:
        for received in batch:
            if number_of(received) in bad:
                raise error(f"expected another number than {number_of(received)}\ud800")
        return copy(batch)

    return handle


def insert(batch: Sequence[Received], connection: DbConnection) -> list[NewRecord]:
    for received in batch:
        connection.execute("INSERT INTO rows VALUES (%s, 'n')", (number_of(received),))
    return copy(batch)


def test_poison_records_are_found_and_the_others_go_on_in_order(broker: PostgresBroker) -> None:
    append(broker, [raw(number) for number in range(50)])

    with running(loop_of(broker, handle=refusing(7, 31))):
        eventually(lambda: advanced(broker) == 50)

    assert numbers(broker) == [number for number in range(50) if number not in {7, 31}]
    assert len(contents(broker, "cleaner.dlq")) == 2


def test_a_dead_letter_holds_key_value_headers_and_cause(broker: PostgresBroker) -> None:
    append(broker, [raw(0), raw(1)])
    origin = contents(broker, RAW)[1]

    with running(loop_of(broker, handle=refusing(1))):
        eventually(lambda: advanced(broker) == 2)

    (letter,) = contents(broker, "cleaner.dlq")
    assert (letter.key, letter.value) == (origin.key, origin.value)
    assert dict(letter.headers) == {
        **origin.headers,
        "dlq.original-topic": RAW.encode(),
        "dlq.original-partition": str(origin.partition).encode(),
        "dlq.original-offset": str(origin.offset).encode(),
        "dlq.original-timestamp": str(origin.timestamp_ms).encode(),
        "dlq.service": b"cleaner",
        "dlq.error": b"InvalidEvent",
        "dlq.message": b"expected another number than 1?",
        "dlq.attempts": b"1",
        "dlq.failed-at": letter.headers["dlq.failed-at"],
    }
    assert UUID(letter.headers["event_id"].decode())


def test_a_record_that_does_not_decode_is_a_dead_letter(broker: PostgresBroker) -> None:
    append(broker, [raw(0), NewRecord(RAW, b"k", b"no JSON", raw(1).headers), NewRecord(RAW, b"k", b"x", {}), raw(2)])

    with running(loop_of(broker, handle=copy)):
        eventually(lambda: advanced(broker) >= 4)

    assert sorted(numbers(broker)) == [0, 2]
    assert {letter.value for letter in contents(broker, "cleaner.dlq")} == {b"no JSON", b"x"}


def test_a_failing_record_of_the_own_dead_letters_makes_no_further_one(broker: PostgresBroker) -> None:
    append(broker, [NewRecord("cleaner.dlq", b"k", b"v", {}), NewRecord("loader.dlq", b"k", b"v", {})])

    def refuse(batch: Sequence[Received]) -> list[NewRecord]:
        raise InvalidEvent("not that either")

    with running(loop_of(broker, handle=refuse, reads=["cleaner.dlq", "loader.dlq"])):
        eventually(lambda: sum(broker.committed("cleaner", ["cleaner.dlq", "loader.dlq"]).values()) == 3)

    assert len(contents(broker, "cleaner.dlq")) == 2


def test_transient_trouble_advances_nothing_and_then_all_goes_on(broker: PostgresBroker) -> None:
    append(broker, [raw(number) for number in range(5)])
    away = threading.Event()
    away.set()
    tries: list[float] = []

    def handle(batch: Sequence[Received]) -> list[NewRecord]:
        tries.append(time.monotonic())
        if away.is_set():
            raise TransientError("the source is away")
        return copy(batch)

    with running(loop_of(broker, handle=handle)) as run:
        eventually(lambda: len(tries) >= 4)
        assert run.loop.state == "backing off"
        assert advanced(broker) == 0
        away.clear()
        eventually(lambda: advanced(broker) == 5)

    assert numbers(broker) == [0, 1, 2, 3, 4]
    assert contents(broker, "cleaner.dlq") == []
    assert tries[3] - tries[2] > tries[1] - tries[0]


def test_rows_and_positions_commit_together(broker: PostgresBroker, rows: psycopg.Connection[tuple[Any, ...]]) -> None:
    append(broker, [raw(number) for number in range(3)])
    failures = [1]

    def handle(batch: Sequence[Received], connection: DbConnection) -> list[NewRecord]:
        outputs = insert(batch, connection)
        if failures:
            failures.pop()
            raise TransientError("after the rows")
        return outputs

    with running(loop_of(broker, database_handle=handle)):
        eventually(lambda: advanced(broker) == 3)

    assert rows.execute("SELECT number FROM rows ORDER BY 1").fetchall() == [(0,), (1,), (2,)]
    assert numbers(broker) == [0, 1, 2]


def test_a_record_that_fails_in_the_database_spoils_no_rows_of_others(
    broker: PostgresBroker, rows: psycopg.Connection[tuple[Any, ...]]
) -> None:
    append(broker, [raw(number) for number in range(6)])  # the table refuses 3

    with running(loop_of(broker, database_handle=insert)):
        eventually(lambda: advanced(broker) == 6)

    assert rows.execute("SELECT number FROM rows ORDER BY 1").fetchall() == [(0,), (1,), (2,), (4,), (5,)]
    assert [letter.headers["dlq.error"] for letter in contents(broker, "cleaner.dlq")] == [b"CheckViolation"]


def test_a_value_beyond_the_databases_limits_is_a_dead_letter_and_no_outage(
    broker: PostgresBroker, rows: psycopg.Connection[tuple[Any, ...]]
) -> None:
    append(broker, [raw(number) for number in range(2)])

    def handle(batch: Sequence[Received], connection: DbConnection) -> list[NewRecord]:
        for received in batch:  # random text, which the index cannot compress below its 2,704 bytes
            connection.execute(
                "INSERT INTO rows SELECT %s, string_agg(md5(random()::text), '') FROM generate_series(1, %s)",
                (number_of(received), 1 + 400 * number_of(received)),
            )
        return copy(batch)

    with running(loop_of(broker, database_handle=handle)):
        eventually(lambda: advanced(broker) == 2)

    assert [letter.headers["dlq.error"] for letter in contents(broker, "cleaner.dlq")] == [b"ProgramLimitExceeded"]


def test_a_session_that_the_server_ended_inside_a_unit_loses_no_rows(
    broker: PostgresBroker, rows: psycopg.Connection[tuple[Any, ...]]
) -> None:
    """The first half of a bisected batch is in, then the connection goes in a way that is no OperationalError."""
    append(broker, [raw(number) for number in range(8)])
    waited: list[int] = []

    def handle(batch: Sequence[Received], connection: DbConnection) -> list[NewRecord]:
        if len(batch) == 8:
            raise ValueError("bisect me")
        if number_of(batch[0]) == 4 and not waited:
            waited.append(connection.info.backend_pid)
            pid = connection.info.backend_pid
            eventually(lambda: not rows.execute("SELECT 1 FROM pg_stat_activity WHERE pid = %s", (pid,)).fetchone())
        return insert(batch, connection) if number_of(batch[0]) != 3 else []

    with running(loop_of(broker, database_handle=handle)):
        eventually(lambda: advanced(broker) == 8, timeout_s=20)

    assert len(waited) == 1
    assert rows.execute("SELECT count(*) FROM rows").fetchall() == [(7,)]
    assert len(numbers(broker)) == 7


def test_stop_returns_promptly_when_idle_and_when_waiting_for_trouble_to_pass(broker: PostgresBroker) -> None:
    def away(batch: Sequence[Received]) -> list[NewRecord]:
        raise TransientError("away")

    idle, waiting = loop_of(broker, handle=copy), loop_of(broker, handle=away, service="loader")
    append(broker, [raw(0)])
    for loop, state in ((idle, "running"), (waiting, "backing off")):
        assert seconds_to_stop(loop, state) < 2
        assert loop.state == "stopped"


def seconds_to_stop(loop: ConsumerLoop, state: str) -> float:
    with running(loop) as run:
        eventually(lambda: loop.state == state)
        stopped_at = time.monotonic()
        loop.stop()
        run.join()
        assert run.died_of is None
        return time.monotonic() - stopped_at


def test_a_stopped_loop_leaves_its_partitions_to_the_others_at_once(broker: PostgresBroker) -> None:
    with running(loop_of(broker, handle=copy, slot="a")):
        eventually(lambda: broker_has_member(broker, "cleaner-a"))

    append(broker, [raw(0)])
    started_at = time.monotonic()
    with running(loop_of(broker, handle=copy, slot="b")):
        eventually(lambda: advanced(broker) == 1)
    assert time.monotonic() - started_at < 1.4


def broker_has_member(broker: PostgresBroker, member: str) -> bool:
    with broker._link.use() as connection:
        return bool(
            connection.execute("SELECT 1 FROM broker.leases WHERE owner = %s HAVING count(*) = 2", (member,)).fetchone()
        )


@pytest.mark.parametrize("good_at_the_end", [0, 150])
def test_the_breaker_ends_the_loop_when_most_records_fail_unexpectedly(
    broker: PostgresBroker, good_at_the_end: int
) -> None:
    append(broker, [raw(number) for number in range(100 + good_at_the_end)])

    with running(loop_of(broker, handle=refusing(*range(100), error=RuntimeError))) as run:
        run.join()

    assert isinstance(run.died_of, HeadraceError)
    assert "RuntimeError" in str(run.died_of)
    assert (advanced(broker), contents(broker, "cleaner.dlq")) == (0, [])


def test_many_wrong_records_are_no_bug_of_ours(broker: PostgresBroker) -> None:
    append(broker, [raw(number) for number in range(60)])

    with running(loop_of(broker, handle=refusing(*range(60)))):
        eventually(lambda: advanced(broker) == 60)

    assert len(contents(broker, "cleaner.dlq")) == 60


def test_a_wrong_setting_ends_the_loop_and_makes_no_dead_letters(broker: PostgresBroker) -> None:
    append(broker, [raw(0)])

    with running(loop_of(broker, handle=refusing(0, error=ConfigError))) as run:
        run.join()

    assert isinstance(run.died_of, ConfigError)
    assert contents(broker, "cleaner.dlq") == []


def test_a_second_process_under_the_same_slot_ends_the_first(broker: PostgresBroker, url: str) -> None:
    other = broker_on(url)
    with running(loop_of(broker, handle=copy)) as first:
        eventually(lambda: broker_has_member(broker, "cleaner-0"))
        with running(loop_of(other, handle=copy)) as second:
            first.join()
            assert "slot 'cleaner-0'" in str(first.died_of)
            append(other, [raw(0)])
            eventually(lambda: advanced(other) == 1)
            assert second.died_of is None
    other.close()


def test_replicas_come_and_go_and_every_record_is_handled_once(broker: PostgresBroker, url: str) -> None:
    append(broker, [raw(number, f"k{number}") for number in range(300)])
    replicas = [broker_on(url) for _ in range(3)]
    loops = [loop_of(each, handle=copy, slot=str(slot), max_records=7) for slot, each in enumerate(replicas)]
    with running(loops[0]), running(loops[1]):
        with running(loops[2]):
            eventually(lambda: advanced(broker) > 50)
        append(broker, [raw(number, f"k{number}") for number in range(300, 400)])
        eventually(lambda: advanced(broker) == 400, timeout_s=20)
    for each in replicas:
        each.close()

    assert sorted(numbers(broker)) == list(range(400))


def test_what_became_of_records_is_counted_once_they_are_committed(broker: PostgresBroker) -> None:
    append(broker, [raw(number) for number in range(4)])
    metrics = Metrics()

    with running(loop_of(broker, handle=refusing(2), metrics=metrics)):
        eventually(lambda: advanced(broker) == 4)

    def value(name: str, **labels: str) -> float | None:
        return metrics.registry.get_sample_value(f"headrace_{name}", labels)

    assert value("records_total", service="cleaner", topic=RAW, outcome="handled") == 3
    assert value("records_total", service="cleaner", topic=RAW, outcome="failed") == 1
    assert value("dead_letters_total", topic=RAW, reason="InvalidEvent") == 1
    assert value("rebalances_total") == 1
    assert len(contents(broker, CLEAN)) == 3
