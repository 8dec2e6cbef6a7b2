"""The consumer loop on a real log: what fails, what waits, what goes on."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast
from uuid import UUID

import psycopg
import pytest

from shared.backoff import Backoff
from shared.broker.contract import Broker, NewRecord, TopicPartition
from shared.broker.postgres.broker import PostgresBroker
from shared.database.connection import DbConnection
from shared.errors import ConfigError, InvalidEvent, TransientError
from shared.ops.orders import Desired, Order, Orders
from shared.records import Received
from shared.runtime.control.mailbox import FRESH_S, Steering
from shared.runtime.loops.consumer import ConsumerLoop
from shared.runtime.loops.handler import InTransaction, InUnit
from shared.runtime.metrics import Metrics
from shared.runtime.view import LoopView
from shared.topics import CLEAN, RAW
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
    tp_of,
)

Make = Callable[..., ConsumerLoop]
# The records of the first lie in partition 1, those of the second in partition 0.
KEYS = [next(key for key in "abcdefghijk" if tp_of(key).partition == p) for p in (1, 0)]


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


def refusing(
    *bad: int, error: type[Exception] = InvalidEvent, key: str = ""
) -> Callable[[Sequence[Received]], list[NewRecord]]:
    """Handles a batch as a whole; fails when a bad one (of that key) is in it, as a handler does that looks at all."""

    def handle(batch: Sequence[Received]) -> list[NewRecord]:
        for received in batch:
            if number_of(received) in bad and received.message.event_key.endswith(key):
                raise error(f"expected another number than {number_of(received)}\ud800")
        return copy(batch)

    return handle


def insert(batch: Sequence[Received], connection: DbConnection) -> list[NewRecord]:
    for received in batch:
        connection.execute("INSERT INTO rows VALUES (%s, 'n')", (number_of(received),))
    return copy(batch)


def test_poison_records_are_found_and_the_others_go_on_in_order(broker: PostgresBroker) -> None:
    append(broker, [raw(number) for number in range(50)])

    with running(loop_of(broker, handler=InUnit(refusing(7, 31)))):
        eventually(lambda: advanced(broker) == 50)

    assert numbers(broker) == [number for number in range(50) if number not in {7, 31}]
    assert len(contents(broker, "cleaner.dlq")) == 2


def test_a_dead_letter_holds_key_value_headers_and_cause(broker: PostgresBroker) -> None:
    append(broker, [raw(0), raw(1)])
    origin = contents(broker, RAW)[1]

    with running(loop_of(broker, handler=InUnit(refusing(1)))):
        eventually(lambda: advanced(broker) == 2)

    (letter,) = contents(broker, "cleaner.dlq")
    assert (letter.key, letter.value) == (origin.key, origin.value)
    assert dict(letter.headers) == {
        **origin.headers,
        "dlq.original-topic": RAW.encode(),
        "dlq.original-partition": str(origin.partition).encode(),
        "dlq.original-offset": str(origin.offset).encode(),
        "dlq.original-timestamp": str(origin.timestamp_ms).encode(),
        "dlq.original-group": b"cleaner",
        "dlq.stage": b"handle",
        "dlq.exception-class": b"InvalidEvent",
        "dlq.exception-message": b"expected another number than 1?",
        "dlq.attempts": b"1",
        "dlq.first-failed-at": letter.headers["dlq.first-failed-at"],
        "dlq.redrive-count": b"00",
        "dlq.stack-digest": letter.headers["dlq.stack-digest"],
        "dlq.stack-frame": letter.headers["dlq.stack-frame"],
    }
    assert UUID(letter.headers["event_id"].decode())


def test_a_record_that_does_not_decode_is_a_dead_letter(broker: PostgresBroker) -> None:
    append(broker, [raw(0), NewRecord(RAW, b"k", b"no JSON", raw(1).headers), NewRecord(RAW, b"k", b"x", {}), raw(2)])

    with running(loop_of(broker, handler=InUnit(copy))):
        eventually(lambda: advanced(broker) >= 4)

    assert sorted(numbers(broker)) == [0, 2]
    assert {letter.value for letter in contents(broker, "cleaner.dlq")} == {b"no JSON", b"x"}


def test_a_failing_record_of_the_own_dead_letters_makes_no_further_one(broker: PostgresBroker) -> None:
    append(broker, [NewRecord("cleaner.dlq", b"k", b"v", {}), NewRecord("loader.dlq", b"k", b"v", {})])

    def refuse(batch: Sequence[Received]) -> list[NewRecord]:
        raise InvalidEvent("not that either")

    with running(loop_of(broker, handler=InUnit(refuse), reads=["cleaner.dlq", "loader.dlq"])):
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

    with running(loop_of(broker, handler=InUnit(handle))) as run:
        eventually(lambda: len(tries) >= 4)
        assert run.loop.state == "backing off"
        assert advanced(broker) == 0
        away.clear()
        eventually(lambda: advanced(broker) == 5)

    assert numbers(broker) == [0, 1, 2, 3, 4]
    assert contents(broker, "cleaner.dlq") == []
    assert tries[3] - tries[2] > tries[1] - tries[0]


def test_a_loop_that_has_never_reached_its_broker_waits_between_its_tries() -> None:
    metrics = Metrics()
    retries = metrics.retries_total.labels(operation="cleaner", reason="TransientError")
    nowhere = PostgresBroker("host=/nowhere dbname=none")

    began_s = time.monotonic()
    with running(loop_of(nowhere, handler=InUnit(copy), metrics=metrics)):
        eventually(lambda: retries._value.get() >= 4)

    assert time.monotonic() - began_s > 0.3  # at least 0.05 + 0.1 + 0.2 s


def test_a_member_that_waits_for_trouble_to_pass_takes_part_in_its_group(broker: PostgresBroker, url: str) -> None:
    append(broker, [raw(0, KEYS[1])])
    tries: list[int] = []

    def handle(batch: Sequence[Received]) -> list[NewRecord]:
        tries.append(1)
        raise TransientError("away")

    other, waiting = broker_on(url), loop_of(broker, handler=InUnit(handle), slot="a")
    waiting._backoff = Backoff(first_s=3.0)  # as after a long outage
    joining = loop_of(other, handler=InUnit(copy), slot="b")
    with running(waiting):
        eventually(lambda: len(tries) >= 1)
        with running(joining):
            eventually(lambda: joining.assigned == 1)
            assert len(tries) == 1  # the other waits still
    other.close()


class Rebalanced:
    """A broker whose consumer owns nothing in the moment after a reload: all is dealt out anew just then."""

    def __init__(self, real: Any) -> None:
        self._real = real
        self._dealing = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def consumer(self, *arguments: Any, **options: Any) -> Rebalanced:
        return Rebalanced(self._real.consumer(*arguments, **options))

    def reload(self) -> None:
        self._real.reload()
        self._dealing = True

    def assignment(self) -> frozenset[TopicPartition]:
        owned: frozenset[TopicPartition] = frozenset() if self._dealing else self._real.assignment()
        self._dealing = False
        return owned


def test_what_was_paused_while_trouble_passed_is_resumed_also_when_it_is_away_just_then(broker: PostgresBroker) -> None:
    append(broker, [raw(number, key) for number, key in enumerate(KEYS)])
    tries: list[int] = []

    def handle(batch: Sequence[Received]) -> list[NewRecord]:
        tries.append(1)
        if len(tries) == 1:
            raise TransientError("away")
        return copy(batch)

    loop = ConsumerLoop(
        cast("Broker", Rebalanced(broker)),
        service="cleaner",
        slot="0",
        reads=[RAW],
        metrics=Metrics(),
        handler=InUnit(handle),
    )
    with running(loop):
        eventually(lambda: advanced(broker) == len(KEYS))


def test_batches_are_what_is_there_up_to_the_most_that_is_allowed(broker: PostgresBroker) -> None:
    sizes: list[int] = []

    def handle(batch: Sequence[Received]) -> list[NewRecord]:
        sizes.append(len(batch))
        return []

    append(broker, [raw(number) for number in range(4500)])
    with running(loop_of(broker, handler=InUnit(handle))):
        eventually(lambda: advanced(broker) == 4500)
        append(broker, [raw(4500)])
        eventually(lambda: advanced(broker) == 4501)

    assert sizes == [2000, 2000, 500, 1]


def test_rows_and_positions_commit_together(broker: PostgresBroker, rows: psycopg.Connection[tuple[Any, ...]]) -> None:
    append(broker, [raw(number) for number in range(3)])
    failures = [1]

    def handle(batch: Sequence[Received], connection: DbConnection) -> list[NewRecord]:
        outputs = insert(batch, connection)
        if failures:
            failures.pop()
            raise TransientError("after the rows")
        return outputs

    with running(loop_of(broker, handler=InTransaction(handle))):
        eventually(lambda: advanced(broker) == 3)

    assert rows.execute("SELECT number FROM rows ORDER BY 1").fetchall() == [(0,), (1,), (2,)]
    assert numbers(broker) == [0, 1, 2]


def test_a_record_that_fails_in_the_database_spoils_no_rows_of_others(
    broker: PostgresBroker, rows: psycopg.Connection[tuple[Any, ...]]
) -> None:
    append(broker, [raw(number) for number in range(6)])  # the table refuses 3

    with running(loop_of(broker, handler=InTransaction(insert))):
        eventually(lambda: advanced(broker) == 6)

    assert rows.execute("SELECT number FROM rows ORDER BY 1").fetchall() == [(0,), (1,), (2,), (4,), (5,)]
    assert [letter.headers["dlq.exception-class"] for letter in contents(broker, "cleaner.dlq")] == [b"CheckViolation"]


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

    with running(loop_of(broker, handler=InTransaction(handle))):
        eventually(lambda: advanced(broker) == 2)

    assert [letter.headers["dlq.exception-class"] for letter in contents(broker, "cleaner.dlq")] == [
        b"ProgramLimitExceeded"
    ]


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

    with running(loop_of(broker, handler=InTransaction(handle))):
        eventually(lambda: advanced(broker) == 8, timeout_s=20)

    assert len(waited) == 1
    assert rows.execute("SELECT count(*) FROM rows").fetchall() == [(7,)]
    assert len(numbers(broker)) == 7


def test_stop_returns_promptly_when_idle_and_when_waiting_for_trouble_to_pass(broker: PostgresBroker) -> None:
    def away(batch: Sequence[Received]) -> list[NewRecord]:
        raise TransientError("away")

    idle, waiting = loop_of(broker, handler=InUnit(copy)), loop_of(broker, handler=InUnit(away), service="loader")
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
    with running(loop_of(broker, handler=InUnit(copy), slot="a")):
        eventually(lambda: broker_has_member(broker, "cleaner-a"))

    append(broker, [raw(0)])
    started_at = time.monotonic()
    with running(loop_of(broker, handler=InUnit(copy), slot="b")):
        eventually(lambda: advanced(broker) == 1)
    assert time.monotonic() - started_at < 1.4


def broker_has_member(broker: PostgresBroker, member: str) -> bool:
    with broker._link.use() as connection:
        return bool(
            connection.execute("SELECT 1 FROM broker.leases WHERE owner = %s HAVING count(*) = 2", (member,)).fetchone()
        )


def test_a_partition_whose_records_show_a_bug_is_held_back_and_the_others_go_on(broker: PostgresBroker) -> None:
    append(broker, [raw(number, key) for number in range(100) for key in KEYS])
    metrics = Metrics()
    loop = loop_of(broker, handler=InUnit(refusing(*range(30, 90), error=RuntimeError, key=KEYS[0])), metrics=metrics)
    view = LoopView(loop, broker, "0")

    with running(loop) as run:
        eventually(lambda: advanced(broker) == 100 and loop.state == "tripped")
        append(broker, [raw(100, key) for key in KEYS])
        eventually(lambda: advanced(broker) == 101)
        ready, why = view.ready()
        assert run.died_of is None

    held, free = (broker.committed("cleaner", [RAW])[tp_of(key)] for key in KEYS)
    assert (held, free) == (0, 101)
    assert numbers(broker) == list(range(101))
    assert contents(broker, "cleaner.dlq") == []
    assert not ready
    assert re.match(r"tripped: raw-events/1 is held back .*RuntimeError: expected another", why)
    labels = {"topic": RAW, "partition": "1"}
    assert metrics.registry.get_sample_value("headrace_tripped_partitions", labels) == 1


def test_a_partition_that_is_held_back_stays_so_while_members_come_and_go(broker: PostgresBroker, url: str) -> None:
    append(broker, [raw(number, KEYS[0]) for number in range(50)])
    tries: list[int] = []

    def handle(batch: Sequence[Received]) -> list[NewRecord]:
        tries.append(len(batch))
        raise RuntimeError("a bug")

    other, loop = broker_on(url), loop_of(broker, handler=InUnit(handle), slot="a")
    second = loop_of(other, handler=InUnit(refusing(*range(50), error=RuntimeError)), slot="b")
    with running(loop):
        eventually(lambda: loop.state == "tripped")
        tries.clear()
        with running(second):  # it gets partition 1, and trips too
            eventually(lambda: (loop.assigned, loop.state, second.state) == (1, "running", "tripped"))
        eventually(lambda: (loop.assigned, loop.state) == (2, "tripped"))
        append(broker, [raw(0, KEYS[1])])
        eventually(lambda: broker.committed("cleaner", [RAW])[tp_of(KEYS[1])] == 1)
    other.close()

    assert broker.committed("cleaner", [RAW])[tp_of(KEYS[0])] == 0
    assert tries == [1, 1, 1]  # the one record of the other partition
    assert len(contents(broker, "cleaner.dlq")) == 1


def test_a_partition_that_was_held_back_is_read_again_by_a_new_process(broker: PostgresBroker) -> None:
    append(broker, [raw(number) for number in range(30)])
    broken, mended = (
        loop_of(broker, handler=InUnit(refusing(*range(30), error=RuntimeError))),
        loop_of(broker, handler=InUnit(copy)),
    )
    with running(broken):
        eventually(lambda: broken.state == "tripped")

    with running(mended):
        eventually(lambda: advanced(broker) == 30)

    assert (numbers(broker), contents(broker, "cleaner.dlq")) == (list(range(30)), [])


def test_a_record_that_fails_by_chance_is_tried_again_in_place(broker: PostgresBroker) -> None:
    append(broker, [raw(number) for number in range(4)])
    failures = [1, 1, 1]

    def handle(batch: Sequence[Received]) -> list[NewRecord]:
        if failures and any(number_of(received) == 2 for received in batch):
            failures.pop()
            raise RuntimeError("by chance")
        return copy(batch)

    with running(loop_of(broker, handler=InUnit(handle))):
        eventually(lambda: advanced(broker) == 4)

    assert (numbers(broker), contents(broker, "cleaner.dlq")) == ([0, 1, 2, 3], [])


def test_a_dead_letter_says_how_often_its_record_was_tried(broker: PostgresBroker) -> None:
    append(broker, [raw(0), raw(1)])

    with running(loop_of(broker, handler=InUnit(refusing(1, error=RuntimeError)))):
        eventually(lambda: advanced(broker) == 2)

    assert [letter.headers["dlq.attempts"] for letter in contents(broker, "cleaner.dlq")] == [b"3"]


def test_a_source_that_changed_its_format_does_not_fill_the_dead_letters(broker: PostgresBroker) -> None:
    append(broker, [raw(number) for number in range(60)])
    loop = loop_of(broker, handler=InUnit(refusing(*range(60))))

    with running(loop):
        eventually(lambda: loop.state == "tripped")
        told = loop.trouble

    assert (advanced(broker), contents(broker, "cleaner.dlq")) == (0, [])
    assert "`headrace resume cleaner raw-events`" in told


def test_a_wrong_setting_ends_the_loop_and_makes_no_dead_letters(broker: PostgresBroker) -> None:
    append(broker, [raw(0)])

    with running(loop_of(broker, handler=InUnit(refusing(0, error=ConfigError)))) as run:
        run.join()

    assert isinstance(run.died_of, ConfigError)
    assert contents(broker, "cleaner.dlq") == []


def test_a_second_process_under_the_same_slot_ends_the_first(broker: PostgresBroker, url: str) -> None:
    other = broker_on(url)
    with running(loop_of(broker, handler=InUnit(copy))) as first:
        eventually(lambda: broker_has_member(broker, "cleaner-0"))
        with running(loop_of(other, handler=InUnit(copy))) as second:
            first.join()
            assert "slot 'cleaner-0'" in str(first.died_of)
            append(other, [raw(0)])
            eventually(lambda: advanced(other) == 1)
            assert second.died_of is None
    other.close()


def test_replicas_come_and_go_and_every_record_is_handled_once(broker: PostgresBroker, url: str) -> None:
    append(broker, [raw(number, f"k{number}") for number in range(300)])
    replicas = [broker_on(url) for _ in range(3)]
    loops = [loop_of(each, handler=InUnit(copy), slot=str(slot), max_records=7) for slot, each in enumerate(replicas)]
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

    with running(loop_of(broker, handler=InUnit(refusing(2)), metrics=metrics)):
        eventually(lambda: advanced(broker) == 4)

    def value(name: str, **labels: str) -> float | None:
        return metrics.registry.get_sample_value(f"headrace_{name}", labels)

    assert value("records_total", service="cleaner", topic=RAW, outcome="handled") == 3
    assert value("records_total", service="cleaner", topic=RAW, outcome="failed") == 1
    assert value("dead_letters_total", topic=RAW, reason="InvalidEvent") == 1
    assert value("rebalances_total") == 1
    assert len(contents(broker, CLEAN)) == 3


def give(steering: Steering, desired: Desired, seq: int, tolerate: int = 0) -> None:
    steering.give(Orders({RAW: Order(RAW, desired, seq, tolerate)}), time.monotonic())


def states(steering: Steering) -> tuple[int, list[str]]:
    """Up to which order it obeys, and what it does with its partitions."""
    standing = steering.standing()
    return (
        (-1, [])
        if standing is None
        else (standing.seq, [each.state for _, each in sorted(standing.partitions.items())])
    )


def test_a_resume_lets_a_partition_that_was_held_back_be_tried_again(broker: PostgresBroker) -> None:
    append(broker, [raw(number) for number in range(40)])
    steering, metrics, mended = Steering(), Metrics(), threading.Event()
    give(steering, "running", 1)

    def handle(batch: Sequence[Received]) -> list[NewRecord]:
        return copy(batch) if mended.is_set() else refusing(*range(40))(batch)

    with running(loop_of(broker, handler=InUnit(handle), steering=steering, metrics=metrics)) as run:
        eventually(lambda: run.loop.state == "tripped")
        eventually(lambda: sorted(states(steering)[1]) == ["running", "tripped"])
        mended.set()
        give(steering, "running", 2)
        eventually(lambda: advanced(broker) == 40)
        eventually(lambda: states(steering) == (2, ["running", "running"]))

    labels = {"topic": RAW, "partition": str(tp_of("k").partition)}
    assert metrics.registry.get_sample_value("headrace_tripped_partitions", labels) == 0
    assert (numbers(broker), contents(broker, "cleaner.dlq")) == (list(range(40)), [])


def test_a_resume_can_let_so_many_failures_pass(broker: PostgresBroker) -> None:
    append(broker, [raw(number) for number in range(40)])
    steering = Steering()
    give(steering, "running", 1)

    with running(loop_of(broker, handler=InUnit(refusing(*range(40))), steering=steering)) as run:
        eventually(lambda: run.loop.state == "tripped")
        give(steering, "running", 2, tolerate=40)
        eventually(lambda: advanced(broker) == 40)

    assert len(contents(broker, "cleaner.dlq")) == 40


def test_what_was_tolerated_before_a_start_holds_until_the_order_is_effective(broker: PostgresBroker) -> None:
    append(broker, [raw(number) for number in range(40)])
    steering = Steering()
    give(steering, "running", 2, tolerate=40)

    with running(loop_of(broker, handler=InUnit(refusing(*range(80))), steering=steering)) as run:
        eventually(lambda: advanced(broker) == 40)
        give(steering, "running", 2)
        append(broker, [raw(number) for number in range(40, 80)])
        eventually(lambda: run.loop.state == "tripped")

    assert len(contents(broker, "cleaner.dlq")) == 40


def test_what_is_paused_and_held_back_counts_as_paused(broker: PostgresBroker) -> None:
    append(broker, [raw(number) for number in range(40)])
    steering = Steering()
    give(steering, "running", 1)
    loop = loop_of(broker, handler=InUnit(refusing(*range(40))), steering=steering)

    with running(loop):
        eventually(lambda: loop.state == "tripped")
        give(steering, "paused", 2)
        eventually(lambda: (loop.state, states(steering)) == ("paused", (2, ["paused", "paused"])))
        assert LoopView(loop, broker, "0").ready() == (True, "2 partitions")


def test_where_it_reads_on_is_told_also_while_paused(broker: PostgresBroker) -> None:
    append(broker, [raw(number) for number in range(7)])
    steering = Steering()
    give(steering, "running", 1)

    with running(loop_of(broker, handler=InUnit(copy), steering=steering)):
        eventually(lambda: advanced(broker) == 7)
        give(steering, "paused", 2)
        eventually(lambda: states(steering) == (2, ["paused", "paused"]))
        standing = steering.standing()

    assert standing is not None
    assert standing.partitions[tp_of("k")].position == 7


def test_partitions_that_come_while_orders_are_too_old_wait_for_new_ones(broker: PostgresBroker) -> None:
    append(broker, [raw(number) for number in range(7)])
    steering = Steering()
    steering.give(Orders(), time.monotonic() - FRESH_S)
    loop = loop_of(broker, handler=InUnit(copy), steering=steering)

    with running(loop):
        eventually(lambda: (loop.assigned, loop.state) == (2, "waiting for orders"))
        ready, why = LoopView(loop, broker, "0").ready()
        assert (ready, advanced(broker)) == (False, 0)
        assert "could not be asked" in why
        steering.give(Orders(), time.monotonic())
        eventually(lambda: advanced(broker) == 7)
        steering.give(Orders(), time.monotonic() - FRESH_S)  # what is begun goes on
        append(broker, [raw(7)])
        eventually(lambda: advanced(broker) == 8)

    assert numbers(broker) == list(range(8))


def test_a_pause_is_obeyed_while_a_handler_waits_for_trouble_to_pass(broker: PostgresBroker) -> None:
    append(broker, [raw(0)])
    steering = Steering()
    give(steering, "running", 1)

    def handle(batch: Sequence[Received]) -> list[NewRecord]:
        give(steering, "paused", 2)
        raise TransientError("away")

    with running(loop_of(broker, handler=InUnit(handle), steering=steering)):
        eventually(lambda: states(steering) == (2, ["paused", "paused"]))

    assert advanced(broker) == 0


def test_positions_say_under_which_order_they_were_advanced(
    broker: PostgresBroker, rows: psycopg.Connection[tuple[Any, ...]]
) -> None:
    append(broker, [raw(0)])
    steering = Steering()
    give(steering, "running", 41)

    with running(loop_of(broker, handler=InUnit(copy), steering=steering)):
        eventually(lambda: advanced(broker) == 1)

    assert rows.execute("SELECT ctl_seq FROM broker.positions WHERE next_off = 1").fetchall() == [(41,)]
