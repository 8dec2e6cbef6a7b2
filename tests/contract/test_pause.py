"""Pause and resume on every broker, while replicas start, stop and are killed."""

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
from tests.contract.conftest import Harness
from tests.contract.records import read_all, until, wait_for_records, write
from tests.contract.replica import READS, SERVICE, WRITES, Operator, Replica, connect_operator, copying, records
from tests.processes import wait_for_line
from tests.proxy import proxied_conninfo
from tests.shared.database.blocking_proxy import silent_proxy
from tests.waiting import DEADLINE_S

pytestmark = pytest.mark.slow
FIRST, SECOND = range(16), range(16, 40)
StartReplica = Callable[[str], "subprocess.Popen[str]"]


@pytest.fixture
def conninfo(harness: Harness, postgres: EmbeddedPostgres) -> str:
    """The connection parameters of the database of the harness."""
    return postgres.url_with_password(database="empty_log")


@pytest.fixture
def operator(conninfo: str) -> Iterator[Operator]:
    with connect_operator(conninfo) as operator:
        yield operator


@pytest.fixture
def start_replica(tmp_path: Path, repository: Path) -> Iterator[StartReplica]:
    """Starts replicas as processes; kills those that are left at the end."""
    processes: list[subprocess.Popen[str]] = []

    def start(slot: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.contract.replica", str(tmp_path / "broker.url"), slot]
        process = subprocess.Popen(command, cwd=repository, stdout=subprocess.PIPE, text=True)
        processes.append(process)
        wait_for_line(process, "started")
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def append_records(broker: Broker, numbers: range) -> None:
    write(broker, records(numbers))


def output_numbers(broker: Broker, count: int) -> list[int]:
    """The sorted numbers of the outputs, with duplicates, once there are that many."""
    return sorted(int(record.value) for record in wait_for_records(broker, WRITES, count))


def in_order(broker: Broker) -> bool:
    """Whether the numbers of each key increase."""
    by_key: dict[bytes, list[int]] = {}
    for record in read_all(broker, WRITES):
        by_key.setdefault(record.key, []).append(int(record.value))
    return all(values == sorted(values) for values in by_key.values())


@contextmanager
def paused_replicas(operator: Operator, *replicas: Replica) -> Iterator[None]:
    """Runs these replicas and pauses them."""
    for replica in replicas:
        replica.__enter__()
    try:
        operation = operator.give_order("paused")
        until(lambda: operator.state(operation) == "succeeded")
        yield
    finally:
        for replica in replicas:
            replica.__exit__()


def test_a_replica_that_starts_in_a_pause_handles_nothing_and_a_resume_loses_nothing(
    harness: Harness, conninfo: str, operator: Operator
) -> None:
    broker, handled = harness.broker, list[int]()
    first = Replica(harness.new_broker(), conninfo, "a", copying(handled))
    append_records(broker, FIRST)
    with first:
        until(lambda: len(handled) == len(FIRST))
        operation = operator.give_order("paused")
        until(lambda: operator.state(operation) == "succeeded")
        append_records(broker, SECOND)
        with Replica(harness.new_broker(), conninfo, "b", copying(handled)) as second:
            until(lambda: operator.owners() == ["a", "a", "b", "b"])  # the group has rebalanced
            assert {each.state for each in operator.live_replicas().observed} == {"paused"}
            assert (first.loop.state, second.loop.state) == ("paused", "paused")
            assert first.metrics.registry.get_sample_value("headrace_paused", {"topic": READS}) == 1
            assert len(handled) == len(FIRST)
            assert sum(broker.committed(SERVICE, [READS]).values()) >= len(FIRST)

            operation = operator.give_order("running")
            until(lambda: operator.state(operation) == "succeeded")
            assert output_numbers(broker, 40) == list(range(40))

    assert in_order(broker)
    assert sorted(handled) == list(range(40))


def test_a_pause_is_effective_only_after_the_open_unit(harness: Harness, conninfo: str, operator: Operator) -> None:
    started, release = threading.Event(), threading.Event()

    def handle(batch: Sequence[DecodedRecord]) -> list[NewRecord]:
        started.set()
        assert release.wait(DEADLINE_S)
        return list(copying()(batch))

    append_records(harness.broker, FIRST)
    with Replica(harness.new_broker(), conninfo, "a", handle):
        assert started.wait(DEADLINE_S)
        operation = operator.give_order("paused")
        until(lambda: operator.waiting_for(operation) == "not obeyed yet by a")
        assert operator.state(operation) == "running"
        release.set()
        until(lambda: operator.state(operation) == "succeeded")
        output_count = len(wait_for_records(harness.broker, WRITES, 1))

    assert 0 < output_count <= len(FIRST)  # the open unit was committed


def test_a_replica_that_is_killed_in_a_pause_comes_back_paused(
    harness: Harness, conninfo: str, operator: Operator, start_replica: StartReplica
) -> None:
    process = start_replica("a")
    operation = operator.give_order("paused")
    until(lambda: operator.state(operation) == "succeeded")
    before = operator.connection.execute("SELECT incarnation FROM ops.replicas").fetchall()
    process.kill()
    process.wait()
    append_records(harness.broker, FIRST)

    start_replica("a")
    until(lambda: operator.connection.execute("SELECT incarnation FROM ops.replicas").fetchall() != before)
    until(lambda: [each.state for each in operator.live_replicas().observed] == ["paused"] * 4)
    assert read_all(harness.broker, WRITES) == []

    operator.give_order("running")
    assert output_numbers(harness.broker, len(FIRST)) == list(FIRST)


def test_a_replica_that_leaves_in_a_pause_leaves_its_partitions_paused(
    harness: Harness, conninfo: str, operator: Operator
) -> None:
    handled: list[int] = []
    staying = Replica(harness.new_broker(), conninfo, "a", copying(handled))
    with paused_replicas(operator, staying):
        with Replica(harness.new_broker(), conninfo, "b", copying(handled)):
            until(lambda: operator.owners() == ["a", "a", "b", "b"])
            append_records(harness.broker, FIRST)
        until(lambda: operator.owners() == ["a"] * 4)
        assert ({each.state for each in operator.live_replicas().observed}, handled) == ({"paused"}, [])

        operator.give_order("running")
        assert output_numbers(harness.broker, len(FIRST)) == list(FIRST)
    assert in_order(harness.broker)


def test_the_last_order_holds_while_the_database_does_not_answer(
    harness: Harness, conninfo: str, operator: Operator
) -> None:
    with (
        silent_proxy(Path(str(conninfo_to_dict(conninfo)["host"]))) as proxy,
        paused_replicas(
            operator,
            Replica(harness.new_broker(), conninfo, "a", copying(), proxied_conninfo(conninfo, proxy.directory), 2.0),
        ),
    ):
        proxy.start_dropping()
        until(lambda: proxy.dropped_bytes > 0)
        append_records(harness.broker, FIRST)
        operation = operator.give_order("running")
        until(lambda: proxy.dropped_bytes > 1)  # it has tried again
        assert read_all(harness.broker, WRITES) == []
        assert operator.state(operation) == "waiting"

        proxy.stop_dropping()
        assert output_numbers(harness.broker, len(FIRST)) == list(FIRST)
        until(lambda: operator.state(operation) == "succeeded")


def test_a_replica_that_does_not_know_its_orders_handles_nothing(
    harness: Harness, conninfo: str, operator: Operator
) -> None:
    append_records(harness.broker, FIRST)
    with tempfile.TemporaryDirectory() as directory:  # short, because the path of a socket is limited
        link = Path(directory) / "link"
        with Replica(
            harness.new_broker(), conninfo, "a", copying(), make_conninfo(conninfo, host=str(link))
        ) as replica:
            until(lambda: (replica.loop.assigned, replica.loop.state) == (4, "waiting for orders"))
            until(lambda: operator.live_replicas().obeyed == {"a": None})
            assert sum(harness.broker.committed(SERVICE, [READS]).values()) == 0

            link.symlink_to(str(conninfo_to_dict(conninfo)["host"]))
            assert output_numbers(harness.broker, len(FIRST)) == list(FIRST)
