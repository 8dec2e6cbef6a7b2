"""Faults in a real run, all at once: each is a context manager, and its end is the recovery.

Each service has faults that do not hide each other: the fetcher is stopped, the cleaner gets invalid records, the
loader is slow, the predictor cannot log in, and the notifier is paused. test_scraped_run.py makes them.
"""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from typing import Any, NamedTuple
from uuid import uuid4

import psycopg

from services.notifier.storage import postgres_claims as claims
from services.notifier.storage import postgres_ledger as ledger
from services.notifier.storage.postgres_ledger import NewNotification
from shared.broker.contract import NewRecord, Record
from shared.broker.postgres.broker import PostgresBroker
from shared.ops.orders import DesiredState
from shared.ops.tables import audit_results
from shared.ops.tables.operations import create, finish
from shared.ops.tables.steering import steer
from shared.records import headers_of
from shared.topics import CLEAN, RAW, READS, retry_topic
from tests.shared.runtime.loop_harness import append, contents
from tests.waiting import DEADLINE_S, terminate_backends

# The embedded server allows 400 connections, 397 of them to services. The services use about 70.
MANY_CONNECTIONS = 270


class Run(NamedTuple):
    """The database of a run: the owner's URL, and a connection."""

    database_url: str
    database: psycopg.Connection[Any]

    def order(self, service: str, topics: Sequence[str], desired: DesiredState, tolerate: int = 0) -> None:
        with self.database.transaction():
            steer(self.database, service, topics, desired, who="test", request_id="test", tolerate=tolerate)


Fault = Callable[[Run], AbstractContextManager[None]]


@contextmanager
def stopped_process(run: Run) -> Iterator[None]:
    row = run.database.execute("SELECT pid FROM ops.replicas WHERE service = 'fetcher'").fetchone()
    assert row is not None
    subprocess.run(["kill", "-STOP", str(row[0])], check=True)
    try:
        yield
    finally:
        subprocess.run(["kill", "-CONT", str(row[0])], check=True)


@contextmanager
def refused_login(run: Run) -> Iterator[None]:
    """The database refuses the predictor's role."""
    run.database.execute("ALTER ROLE headrace_predictor NOLOGIN")
    terminate_backends(run.database, "usename = 'headrace_predictor'")
    try:
        yield
    finally:
        run.database.execute("ALTER ROLE headrace_predictor LOGIN")


@contextmanager
def repeated(action: Callable[[], object], every_s: float) -> Iterator[None]:
    """In a thread, until the end of the block. On a busy machine Prometheus may miss what happens only once."""
    stop = threading.Event()

    def repeat() -> None:
        while not stop.wait(every_s):
            action()

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(DEADLINE_S)


@contextmanager
def arriving(broker: PostgresBroker, records: Sequence[NewRecord], every_s: float) -> Iterator[None]:
    """Append the records again and again."""
    with closing(broker.producer(f"arriving {uuid4()}")) as producer:

        def produce() -> None:
            with producer.unit() as unit:
                unit.append(records)
                unit.commit()

        with repeated(produce, every_s):
            yield


@contextmanager
def slow_loader(run: Run) -> Iterator[None]:
    """Another session holds the locks of the loader's units while records arrive."""
    with closing(PostgresBroker(run.database_url)) as broker, psycopg.connect(run.database_url) as other:
        other.execute("SELECT pg_advisory_xact_lock(hashtext('headrace loader'), p) FROM generate_series(0, 5) p")
        with arriving(broker, [copy_of(record) for record in contents(broker, CLEAN)[:50]], 0.5):
            yield


def copy_of(record: Record) -> NewRecord:
    """The same record again. It changes no row, because its id is known."""
    return NewRecord(record.topic, record.key, record.value, record.headers)


@contextmanager
def stolen_slot(run: Run) -> Iterator[None]:
    """Another process takes the slot of the cleaner's producer for moments; the next unit is fenced."""
    with psycopg.connect(run.database_url, autocommit=True) as other:

        def steal() -> None:
            cursor = other.execute("UPDATE broker.slots SET epoch = epoch + 1 WHERE name LIKE 'cleaner-%'")
            assert cursor.rowcount == 1

        with repeated(steal, 5.0):
            yield


@contextmanager
def invalid_records(run: Run) -> Iterator[None]:
    """Many in one partition, which is held back. In another one they are a tenth, and become dead letters."""
    with closing(PostgresBroker(run.database_url)) as broker:
        good = contents(broker, RAW)
        some, many = (_of_partition(good, p) for p in (0, 1))
        append(broker, [_invalid(many) for _ in range(50)])
        try:
            with arriving(broker, [_invalid(some), *[copy_of(some) for _ in range(9)]], 1.0):
                yield
        finally:
            run.order("cleaner", [RAW], "running", tolerate=100)


def _of_partition(records: Sequence[Record], partition: int) -> Record:
    return next(record for record in records if record.partition == partition)


def _invalid(record: Record) -> NewRecord:
    return NewRecord(RAW, record.key, b"{", headers_of(uuid4(), "raw-event/1", "boatrace", "fetcher"))


@contextmanager
def paused_notifier(run: Run) -> Iterator[None]:
    """It has been paused for a day, and retention has removed records of a topic that only it reads."""
    topic = retry_topic("notifier")
    topics = (*READS["notifier"], topic)
    where = "topic_id = (SELECT id FROM broker.topics WHERE name = %s) AND p = 0"
    run.order("notifier", topics, "paused")
    run.database.execute("UPDATE ops.orders SET ordered_at = now() - interval '25 hours' WHERE service = 'notifier'")
    run.database.execute(f"UPDATE broker.partitions SET begin_off = 5, end_off = 5 WHERE {where}", (topic,))
    try:
        yield
    finally:
        run.database.execute(f"UPDATE broker.positions SET next_off = 5 WHERE grp = 'notifier' AND {where}", (topic,))
        run.order("notifier", topics, "running")


@contextmanager
def failed_audit(run: Run) -> Iterator[None]:
    """Until the next audit finds nothing."""
    audit_results.store(run.database, {"loaded": 1, "missing": 1}, {"missing": 1})
    try:
        yield
    finally:
        audit_results.store(run.database, {"loaded": 2, "missing": 0}, {"missing": 0})


@contextmanager
def unsent_notifications(run: Run) -> Iterator[None]:
    """The sender of one died, and one waits for an hour because the channel is down."""
    with run.database.transaction():
        _record_notification(run)
        assert claims.claim(run.database, "console")
        run.database.execute(
            "UPDATE notifier.ledger SET claimed_at = now() - interval '1 hour' WHERE state = 'sending'"
        )
        assert claims.expire_claims(run.database, "console", 30, "park") == 1
        _record_notification(run)
        run.database.execute(
            "UPDATE notifier.ledger SET created_at = now() - interval '1 hour', due_at = now() + interval '1 hour',"
            " attempts = 1"
            " WHERE state = 'pending'"
        )
    try:
        yield
    finally:
        run.database.execute("UPDATE notifier.ledger SET state = 'sent' WHERE state = 'unknown'")
        run.database.execute("UPDATE notifier.ledger SET due_at = now() WHERE state = 'pending'")


def _record_notification(run: Run) -> None:
    ledger.record_notifications(run.database, [NewNotification(uuid4(), "tip", "river:1", "hello")], ["console"])


@contextmanager
def operation_without_worker(run: Run) -> Iterator[None]:
    operation = create(run.database, "cleaner", "training", {}, "test", "test")
    try:
        yield
    finally:
        finish(run.database, operation.id, "cancelled")


@contextmanager
def many_connections(run: Run) -> Iterator[None]:
    with ExitStack() as stack:
        for _ in range(MANY_CONNECTIONS):
            stack.enter_context(psycopg.connect(run.database_url))
        yield


FAULTS: dict[Fault, set[str]] = {
    stopped_process: {"TargetDown"},
    refused_login: {"NotReady", "Retries"},
    slow_loader: {"LagGrowing", "NoUnits"},
    stolen_slot: {"UnitsUnknownOrFenced"},
    invalid_records: {"DeadLetterRatio", "PartitionTripped"},
    paused_notifier: {"PausedLong", "RecordsLost"},
    failed_audit: {"AuditFindings"},
    unsent_notifications: {"NotificationsLate", "NotificationsUnknown"},
    operation_without_worker: {"OperationStalled"},
    many_connections: {"DatabaseConnections"},
}
"""Each fault and the alerts that report it."""
