"""A replica of a small service, whole: its loop, its heartbeat and its control thread. As a process of its own:
python -m tests.contract.replica BROKER_FILE SLOT"""

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
from tests.contract.child import broker_of, say
from tests.shared.runtime.stage import number_of, raw
from tests.shared.runtime.views import GivenView
from tests.waiting import DEADLINE_S

SERVICE = "cleaner"
READS, WRITES = "many", "other"
_TABLES = ("orders", "observed", "operations", "replicas")


class Replica:
    """Runs while its block does."""

    def __init__(
        self, broker: Broker, conninfo: str, slot: str, handle: Handle, control: str = "", answer_s: float = 5.0
    ) -> None:
        """`control`: where its control thread finds the database, if somewhere else."""
        self.metrics = Metrics()
        steering, incarnation = ControlMailbox(), uuid4()
        self.loop = ConsumerLoop(
            broker,
            service=SERVICE,
            slot=slot,
            reads=[READS],
            metrics=self.metrics,
            handler=InUnit(handle),
            mailbox=steering,
        )
        prefix = "" if type(broker).__name__ == "PostgresBroker" else LOCAL_PREFIX
        partitions = KnownPartitions(SERVICE, [READS], prefix)
        self._control = ControlThread(control or conninfo, SERVICE, slot, incarnation, steering, partitions, answer_s)
        view = _Named(SERVICE, detail={"replica": slot})
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


class _Named(GivenView):
    def status(self) -> dict[str, Any]:
        return {**super().status(), "replica": self.detail["replica"]}


def _guard(_name: str, work: Callable[[], None]) -> None:
    work()


def copying(handled: list[int] | None = None) -> Handle:
    """Passes every number on; notes it."""

    def handle(batch: Sequence[DecodedRecord]) -> list[NewRecord]:
        if handled is not None:
            handled.extend(number_of(each) for each in batch)
        return [NewRecord(WRITES, each.record.key, str(number_of(each)).encode(), {}) for each in batch]

    return handle


def records(numbers: range, keys: str = "abcdefgh") -> list[NewRecord]:
    """Each number once, over all partitions."""
    return [raw(number, keys[number % len(keys)])._replace(topic=READS) for number in numbers]


class Operator:
    """Gives orders and looks at what comes of them."""

    def __init__(self, conninfo: str) -> None:
        self.connection = psycopg.connect(conninfo, autocommit=True)
        self.connection.execute(f"TRUNCATE {', '.join(f'ops.{table}' for table in _TABLES)}")

    def order(self, desired: DesiredState, tolerate: int = 0) -> str:
        with self.connection.transaction():
            return steer(self.connection, SERVICE, [READS], desired, who="test", request_id="1", tolerate=tolerate).id

    def state(self, operation_id: str) -> str:
        return self._get(operation_id).state

    def waits_for(self, operation_id: str) -> str:
        return self._get(operation_id).waiting_for or ""

    def live(self) -> LiveReplicas:
        return live_replicas(self.connection, SERVICE)

    def owners(self) -> list[str]:
        """Who claims the partitions, one by one."""
        return sorted(each.replica for each in self.live().observed)

    def _get(self, operation_id: str) -> Operation:
        found = operations_table.get(self.connection, operation_id)
        assert found is not None
        return found


@contextmanager
def operator(conninfo: str) -> Iterator[Operator]:
    found = Operator(conninfo)
    try:
        yield found
    finally:
        found.connection.close()


def main(broker_file: str, slot: str) -> None:
    with Replica(broker_of(Path(broker_file)), json.loads(Path(broker_file).read_text())["conninfo"], slot, copying()):
        say("started")
        signal.pause()


if __name__ == "__main__":
    main(*sys.argv[1:])
