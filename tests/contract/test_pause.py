"""What pausing and resuming must do on every broker, whoever comes, goes or dies meanwhile."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from headrace.database.embedded import EmbeddedPostgres
from shared.broker.contract import Broker, NewRecord
from shared.records import DecodedRecord
from tests.contract.children import said
from tests.contract.conftest import Harness
from tests.contract.records import all_of, everything, put, until
from tests.contract.replica import READS, SERVICE, WRITES, Operator, Replica, copying, operator, records
from tests.shared.database.black_hole import black_hole
from tests.waiting import DEADLINE_S

pytestmark = pytest.mark.slow
FIRST, SECOND = range(16), range(16, 40)
Start = Callable[[str], "subprocess.Popen[str]"]


@pytest.fixture
def conninfo(harness: Harness, postgres: EmbeddedPostgres) -> str:
    """Of the harness's database."""
    return postgres.url_with_password(database="empty_log")


@pytest.fixture
def told(conninfo: str) -> Iterator[Operator]:
    with operator(conninfo) as found:
        yield found


@pytest.fixture
def started(tmp_path: Path, repository: Path) -> Iterator[Start]:
    """Starts replicas as processes; what is still there at the end is killed."""
    processes: list[subprocess.Popen[str]] = []

    def start(slot: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.contract.replica", str(tmp_path / "broker.url"), slot]
        process = subprocess.Popen(command, cwd=repository, stdout=subprocess.PIPE, text=True)
        processes.append(process)
        said(process, "started")
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def add(broker: Broker, numbers: range) -> None:
    producer = broker.producer("filler")
    put(producer, records(numbers))
    producer.close()


def numbers(broker: Broker, count: int) -> list[int]:
    """What came out, as often as it did, once there is so much of it."""
    return sorted(int(record.value) for record in all_of(broker, WRITES, count))


def in_order(broker: Broker) -> bool:
    """Whether the numbers of each key rise."""
    by_key: dict[bytes, list[int]] = {}
    for record in everything(broker, WRITES):
        by_key.setdefault(record.key, []).append(int(record.value))
    return all(found == sorted(found) for found in by_key.values())


@contextmanager
def paused(told: Operator, *replicas: Replica) -> Iterator[None]:
    """These replicas, and no others, once they obey a pause."""
    for replica in replicas:
        replica.__enter__()
    try:
        operation = told.order("paused")
        until(lambda: told.state(operation) == "succeeded")
        yield
    finally:
        for replica in replicas:
            replica.__exit__()


def test_a_replica_that_starts_in_a_pause_handles_nothing_and_a_resume_loses_nothing(
    harness: Harness, conninfo: str, told: Operator
) -> None:
    broker, handled = harness.broker, list[int]()
    first = Replica(harness.another(), conninfo, "a", copying(handled))
    add(broker, FIRST)
    with first:
        until(lambda: len(handled) == len(FIRST))
        operation = told.order("paused")
        until(lambda: told.state(operation) == "succeeded")
        add(broker, SECOND)
        with Replica(harness.another(), conninfo, "b", copying(handled)) as second:
            until(lambda: told.owners() == ["a", "a", "b", "b"])  # the group is dealt out anew
            assert {each.state for each in told.live().observed} == {"paused"}
            assert (first.loop.state, second.loop.state) == ("paused", "paused")
            assert first.metrics.registry.get_sample_value("headrace_paused", {"topic": READS}) == 1
            assert len(handled) == len(FIRST)
            assert sum(broker.committed(SERVICE, [READS]).values()) >= len(FIRST)

            operation = told.order("running")
            until(lambda: told.state(operation) == "succeeded")
            assert numbers(broker, 40) == list(range(40))

    assert in_order(broker)
    assert sorted(handled) == list(range(40))


def test_a_pause_is_effective_only_after_the_open_unit(harness: Harness, conninfo: str, told: Operator) -> None:
    entered, go_on = threading.Event(), threading.Event()

    def handle(batch: Sequence[DecodedRecord]) -> list[NewRecord]:
        entered.set()
        assert go_on.wait(DEADLINE_S)
        return list(copying()(batch))

    add(harness.broker, FIRST)
    with Replica(harness.another(), conninfo, "a", handle):
        assert entered.wait(DEADLINE_S)
        operation = told.order("paused")
        until(lambda: told.waits_for(operation) == "not obeyed yet by a")
        assert told.state(operation) == "running"
        go_on.set()
        until(lambda: told.state(operation) == "succeeded")
        done = len(everything(harness.broker, WRITES))

    assert 0 < done <= len(FIRST)  # the unit that was open is in


def test_a_replica_that_is_killed_in_a_pause_comes_back_paused(
    harness: Harness, conninfo: str, told: Operator, started: Start
) -> None:
    process = started("a")
    operation = told.order("paused")
    until(lambda: told.state(operation) == "succeeded")
    before = told.connection.execute("SELECT incarnation FROM ops.replicas").fetchall()
    process.kill()
    process.wait()
    add(harness.broker, FIRST)

    started("a")
    until(lambda: told.connection.execute("SELECT incarnation FROM ops.replicas").fetchall() != before)
    until(lambda: [each.state for each in told.live().observed] == ["paused"] * 4)
    assert everything(harness.broker, WRITES) == []

    told.order("running")
    assert numbers(harness.broker, len(FIRST)) == list(FIRST)


def test_a_replica_that_leaves_in_a_pause_leaves_its_partitions_paused(
    harness: Harness, conninfo: str, told: Operator
) -> None:
    handled: list[int] = []
    staying = Replica(harness.another(), conninfo, "a", copying(handled))
    with paused(told, staying):
        with Replica(harness.another(), conninfo, "b", copying(handled)):
            until(lambda: told.owners() == ["a", "a", "b", "b"])
            add(harness.broker, FIRST)
        until(lambda: told.owners() == ["a"] * 4)
        assert ({each.state for each in told.live().observed}, handled) == ({"paused"}, [])

        told.order("running")
        assert numbers(harness.broker, len(FIRST)) == list(FIRST)
    assert in_order(harness.broker)


def test_the_last_order_holds_while_the_database_does_not_answer(harness: Harness, conninfo: str, told: Operator) -> None:
    with (
        black_hole(Path(str(conninfo_to_dict(conninfo)["host"]))) as hole,
        paused(
            told,
            Replica(
                harness.another(), conninfo, "a", copying(), make_conninfo(conninfo, host=str(hole.directory)), 2.0
            ),
        ),
    ):
        hole.swallow()
        until(lambda: hole.swallowed > 0)
        add(harness.broker, FIRST)
        operation = told.order("running")
        until(lambda: hole.swallowed > 1)  # it has tried again
        assert everything(harness.broker, WRITES) == []
        assert told.state(operation) == "waiting"

        hole.stop_swallowing()
        assert numbers(harness.broker, len(FIRST)) == list(FIRST)
        until(lambda: told.state(operation) == "succeeded")


def test_a_replica_that_does_not_know_its_orders_handles_nothing(
    harness: Harness, conninfo: str, told: Operator
) -> None:
    add(harness.broker, FIRST)
    with tempfile.TemporaryDirectory() as directory:  # short, as the path of a socket must be
        door = Path(directory) / "door"
        with Replica(harness.another(), conninfo, "a", copying(), make_conninfo(conninfo, host=str(door))) as replica:
            until(lambda: (replica.loop.assigned, replica.loop.state) == (4, "waiting for orders"))
            until(lambda: told.live().obeyed == {"a": None})
            assert sum(harness.broker.committed(SERVICE, [READS]).values()) == 0

            door.symlink_to(str(conninfo_to_dict(conninfo)["host"]))
            assert numbers(harness.broker, len(FIRST)) == list(FIRST)
