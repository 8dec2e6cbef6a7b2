"""The consumer loop: poll, decode, handle, append, advance, commit. Four services are this and a handler."""

from __future__ import annotations

import gc
import random
import threading
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import cast

import psycopg
import structlog

from shared.broker.contract import Broker, Consumer, DatabaseUnit, NewRecord, Polled, Producer, TopicPartition, Unit
from shared.errors import BrokerError, Fenced, TransientError
from shared.records import Received
from shared.runtime.backoff import Backoff
from shared.runtime.batch import Worked, work
from shared.runtime.breaker import Breaker
from shared.runtime.dead_letters import dead_letter
from shared.runtime.handler import DatabaseHandle, Handle
from shared.runtime.metrics import Metrics
from shared.topics import dead_letter_topic

POLL_S = 0.5


class ConsumerLoop:
    """Drives one handler over the topics it reads. `run` belongs to one thread; `stop` may come from any."""

    def __init__(
        self,
        broker: Broker,
        *,
        service: str,
        slot: str,
        reads: Sequence[str],
        metrics: Metrics,
        handle: Handle | None = None,
        database_handle: DatabaseHandle | None = None,
        max_records: int = 2000,
    ) -> None:
        if (handle is None) == (database_handle is None):
            raise ValueError("give handle, or database_handle for a service whose rows commit with its position")
        self.service = service
        self.reads = tuple(reads)
        self.state = "starting"
        self.ticked_at = time.monotonic()
        self.assigned = 0
        self._broker = broker
        self._slot = f"{service}-{slot}"
        self._handle = handle
        self._database_handle = database_handle
        self._metrics = metrics
        self._max_records = max_records
        self._backoff = Backoff(random.random)
        self._breaker = Breaker()
        self._consumer: Consumer | None = None
        self._producer: Producer | None = None
        self._failed = False
        self._owned: frozenset[TopicPartition] = frozenset()
        self._stop = threading.Event()
        self._log = structlog.get_logger()

    def stop(self) -> None:
        self._stop.set()

    def run(self) -> None:
        """Until stopped. Trouble that may pass is waited out; anything unexpected goes up and ends the process."""
        _calm_the_collector()
        try:
            while not self._stop.is_set():
                self.ticked_at = time.monotonic()
                self._turn()
        finally:  # also when it dies: the partitions go to the other replicas at once
            self._let_go()
            self.state = "stopped"

    def _turn(self) -> None:
        """A step; after a failed one, the committed positions before the next. Each fails into the same waiting."""
        try:
            if self._failed and self._consumer is not None:
                self._consumer.reload()
            self._failed = False
            self._producer = self._producer or self._broker.producer(self._slot)
            self._consumer = self._consumer or self._broker.consumer(
                self.service, self.reads, self._slot, in_database=self._database_handle is not None
            )
            self.step(self._consumer, self._producer)
        except (TransientError, BrokerError) as error:
            self._failed = True
            if isinstance(error, BrokerError):
                self._metrics.units_total.labels(outcome=type(error).__name__.lower()).inc()
            if isinstance(error, Fenced) and self._producer is not None:
                self._producer.close()
                self._producer = None
            self._wait_out(error)

    def _let_go(self) -> None:
        for part in (self._consumer, self._producer):
            if part is not None:
                part.close()

    def step(self, consumer: Consumer, producer: Producer) -> int:
        """One batch, one unit: all of it or none. Returns how many records it took."""
        polled = consumer.poll(POLL_S, self._max_records)
        self._note_assignment(consumer.assignment())
        self.state = "running"
        if not polled.records:
            self._backoff.reset()
            return 0
        started = time.perf_counter()
        with producer.unit() if self._database_handle is None else producer.db_unit() as unit:
            worked = work(polled.records, lambda batch: self._attempt(batch, unit))
            breaker = self._breaker.after(polled.records, worked.failed)
            unit.append([*worked.outputs, *self._dead_letters(worked)])
            unit.advance(polled.token, next_offsets(polled))
            unit.commit()
        self._breaker = breaker
        self._backoff.reset()
        self._observe(polled, worked, time.perf_counter() - started)
        return len(polled.records)

    def _attempt(self, batch: Sequence[Received], unit: Unit) -> Sequence[NewRecord]:
        if self._handle is not None:
            return self._handle(batch)
        assert self._database_handle is not None  # noqa: S101  # the constructor saw to it
        connection = cast("DatabaseUnit", unit).connection
        try:
            connection.execute("SELECT")  # opens the unit's transaction, so that the next line makes a savepoint
            with connection.transaction():
                return self._database_handle(batch, connection)
        except psycopg.Error as error:
            if connection.closed or _may_pass(error):
                raise TransientError(f"the database is away: {error}") from error
            raise

    def _dead_letters(self, worked: Worked) -> list[NewRecord]:
        """One for each failed record, except those that lie in our own dead letters already: they stay there."""
        now = datetime.now(UTC)
        own = dead_letter_topic(self.service)
        return [
            dead_letter(self.service, record, error, 1, now) for record, error in worked.failed if record.topic != own
        ]

    def _note_assignment(self, owned: frozenset[TopicPartition]) -> None:
        if owned != self._owned:
            self._owned = owned
            self.assigned = len(owned)
            self._metrics.rebalances_total.inc()

    def _observe(self, polled: Polled, worked: Worked, took_s: float) -> None:
        metrics = self._metrics
        failed = Counter(record.topic for record, _ in worked.failed)
        handled = Counter(record.topic for record in polled.records) - failed
        for outcome, counts in (("handled", handled), ("failed", failed)):
            for topic, count in counts.items():
                metrics.records_total.labels(service=self.service, topic=topic, outcome=outcome).inc(count)
        for record, error in worked.failed:
            metrics.dead_letters_total.labels(topic=record.topic, reason=type(error).__name__).inc()
            self._log.warning(
                "dead letter", topic=record.topic, partition=record.partition, offset=record.offset,
                event_id=record.headers.get("event_id", b"").decode(errors="replace"),
                error=type(error).__name__, cause=str(error),
            )  # fmt: skip
        newest_ms = max(record.timestamp_ms for record in polled.records)
        metrics.units_total.labels(outcome="committed").inc()
        metrics.batch_duration_seconds.labels(stage=self.service).observe(took_s)
        metrics.batch_size_records.observe(len(polled.records))
        metrics.event_age_seconds.labels(stage=self.service).set(max(0.0, time.time() - newest_ms / 1000))
        metrics.last_success_timestamp_seconds.set(time.time())

    def _wait_out(self, error: TransientError | BrokerError) -> None:
        delay_s = self._backoff.next_s()
        self.state = "backing off"
        self._metrics.retries_total.labels(operation=self.service, reason=type(error).__name__).inc()
        self._log.warning(
            "waiting, then on from the committed positions",
            error=type(error).__name__, cause=str(error), delay_s=round(delay_s, 2),
        )  # fmt: skip
        self._stop.wait(delay_s)


def _may_pass(error: psycopg.Error) -> bool:
    """Whether the database is in trouble, and not the record: a program limit (SQLSTATE class 54, say a value too long
    for an index) counts as operational for psycopg, but no waiting makes the value shorter."""
    trouble = isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    return trouble and not (error.sqlstate or "").startswith("54")


def _calm_the_collector() -> None:
    """A batch is many thousand live objects without a cycle: at the default threshold (700) the collector walks them
    over and over, which was measured to cost half as much again as handling them."""
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)


def next_offsets(polled: Polled) -> dict[TopicPartition, int]:
    """Where to go on after these records."""
    return {TopicPartition(record.topic, record.partition): record.offset + 1 for record in polled.records}
