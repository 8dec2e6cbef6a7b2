"""A complete replica of a small service: its loop, its heartbeat and its control thread. To run it as a process:
python -m tests.contract.replica CONFIG_FILE SLOT"""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg

from shared.broker.contract import Broker, NewRecord
from shared.broker.postgres.log import LOCAL_PREFIX
from shared.ops.operations import Operation
from shared.ops.orders import DesiredState
from shared.ops.tables import operations as operations_table
from shared.ops.tables.orders import LiveReplicas, live_replicas
from shared.ops.tables.steering import KnownPartitions, steer
from shared.records import DecodedRecord
from shared.runtime.control.mailbox import ControlMailbox
from shared.runtime.control.thread import ControlThread
from shared.runtime.loops.consumer import ConsumerLoop
from shared.runtime.loops.handler import Handle, InUnit
from shared.runtime.metrics import Metrics
from shared.runtime.process.replicas import ReplicaHeartbeat
from tests.contract.child import open_broker_of, print_line
from tests.shared.runtime.loop_harness import number_of, raw
from tests.shared.runtime.views import GivenView
from tests.waiting import DEADLINE_S

SERVICE = "cleaner"
READS, WRITES = "many", "other"
_TABLES = ("orders", "observed", "operations", "replicas")


class Replica:
    """Runs until its block ends."""

    def __init__(
        self,
        broker: Broker,
        conninfo: str,
        slot: str,
        handle: Handle,
        control_conninfo: str = "",
        answer_s: float = 5.0,
    ) -> None:
        """`control_conninfo`: the database of the control thread, if it has another connection."""
        self.metrics = Metrics()
        mailbox, incarnation = ControlMailbox(), uuid4()
        self.loop = ConsumerLoop(
            broker,
            service=SERVICE,
            slot=slot,
            reads=[READS],
            metrics=self.metrics,
            handler=InUnit(handle),
            mailbox=mailbox,
        )
        prefix = "" if type(broker).__name__ == "PostgresBroker" else LOCAL_PREFIX
        partitions = KnownPartitions(SERVICE, [READS], prefix)
        self._control = ControlThread(
            control_conninfo or conninfo, SERVICE, slot, incarnation, mailbox, partitions, answer_s
        )
        view = _ReplicaView(SERVICE, detail={"replica": slot})
        self._heartbeat = ReplicaHeartbeat(
            conninfo, view, "http://127.0.0.1:1", _guard, self.metrics, interval_s=0.2, incarnation=incarnation
        )
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self.loop.run, name=f"loop {slot}"),
            threading.Thread(target=self._control.run, args=(self._stop,), name=f"control {slot}"),
        ]

    def __enter__(self) -> Replica:
        self._heartbeat.__enter__()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.loop.stop()
        self._stop.set()
        for thread in self._threads:
            thread.join(DEADLINE_S)
        self._heartbeat.__exit__(None, None, None)


class _ReplicaView(GivenView):
    def status(self) -> dict[str, Any]:
        return {**super().status(), "replica": self.detail["replica"]}


def _guard(_name: str, work: Callable[[], None]) -> None:
    work()


def copying(handled: list[int] | None = None) -> Handle:
    """Copies every number to the output; adds it to `handled`."""

    def handle(batch: Sequence[DecodedRecord]) -> list[NewRecord]:
        if handled is not None:
            handled.extend(number_of(each) for each in batch)
        return [NewRecord(WRITES, each.record.key, str(number_of(each)).encode(), {}) for each in batch]

    return handle


def records(numbers: range, keys: str = "abcdefgh") -> list[NewRecord]:
    """Each number once, in all partitions."""
    return [raw(number, keys[number % len(keys)])._replace(topic=READS) for number in numbers]


class Operator:
    """Gives orders and reads their state."""

    def __init__(self, conninfo: str) -> None:
        self.connection = psycopg.connect(conninfo, autocommit=True)
        self.connection.execute(f"TRUNCATE {', '.join(f'ops.{table}' for table in _TABLES)}")

    def give_order(self, desired: DesiredState, tolerate: int = 0) -> str:
        with self.connection.transaction():
            return steer(self.connection, SERVICE, [READS], desired, who="test", request_id="1", tolerate=tolerate).id

    def state(self, operation_id: str) -> str:
        return self._get(operation_id).state

    def waiting_for(self, operation_id: str) -> str:
        return self._get(operation_id).waiting_for or ""

    def live_replicas(self) -> LiveReplicas:
        return live_replicas(self.connection, SERVICE)

    def owners(self) -> list[str]:
        """The replica of each partition, sorted."""
        return sorted(each.replica for each in self.live_replicas().observed)

    def _get(self, operation_id: str) -> Operation:
        operation = operations_table.get(self.connection, operation_id)
        assert operation is not None
        return operation


@contextmanager
def connect_operator(conninfo: str) -> Iterator[Operator]:
    operator = Operator(conninfo)
    try:
        yield operator
    finally:
        operator.connection.close()


def main(config_file: str, slot: str) -> None:
    with Replica(
        open_broker_of(Path(config_file)), json.loads(Path(config_file).read_text())["conninfo"], slot, copying()
    ):
        print_line("started")
        signal.pause()


if __name__ == "__main__":
    main(*sys.argv[1:])
