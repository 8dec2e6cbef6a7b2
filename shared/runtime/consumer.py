"""The consumer loop: poll, decode, handle, append, advance, commit. Four services are this and a handler."""

from __future__ import annotations

import gc
import random
import threading
import time
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import cast

import psycopg
import structlog

from shared.broker.contract import Broker, Consumer, DatabaseUnit, NewRecord, Polled, Producer, TopicPartition, Unit
from shared.errors import BrokerError, Fenced, HeadraceError, InvalidEvent, TransientError
from shared.records import Received
from shared.runtime.backoff import Backoff
from shared.runtime.batch import Worked, work
from shared.runtime.dead_letters import dead_letter
from shared.runtime.handler import DatabaseHandle, Handle
from shared.runtime.metrics import Metrics

POLL_S = 0.5
# More unexpected errors than this among the last BREAKER_OF records is a bug of ours, not bad data: stop, do not
# fill the dead letters with good records.
BREAKER = 20
BREAKER_OF = 100


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
        self._unexpected: deque[bool] = deque(maxlen=BREAKER_OF)
        self._stop = threading.Event()
        self._log = structlog.get_logger()

    def stop(self) -> None:
        self._stop.set()

    def run(self) -> None:
        """Until stopped. Transient trouble is waited out; anything unexpected goes up and ends the process."""
        _calm_the_collector()
        consumer: Consumer | None = None
        producer: Producer | None = None
        while not self._stop.is_set():
            self.ticked_at = time.monotonic()
            try:
                producer = producer or self._broker.producer(self._slot)
                consumer = consumer or self._broker.consumer(self.service, self.reads, self._slot)
                self.step(consumer, producer)
            except TransientError as error:
                self._wait_out(error)
            except BrokerError as error:
                self._metrics.units_total.labels(outcome=type(error).__name__.lower()).inc()
                self._log.warning("unit failed, positions are read again", error=str(error))
                if isinstance(error, Fenced) and producer is not None:
                    producer.close()
                    producer = None
            else:
                continue
            if consumer is not None:
                self._reload(consumer)
        for part in (consumer, producer):
            if part is not None:
                part.close()
        self.state = "stopped"

    def step(self, consumer: Consumer, producer: Producer) -> int:
        """One batch, one unit: all of it or none. Returns how many records it took."""
        polled = consumer.poll(POLL_S, self._max_records)
        self.assigned = len(consumer.assignment())
        self.state = "running"
        if not polled.records:
            self._backoff.reset()
            return 0
        started = time.perf_counter()
        with producer.unit() if self._database_handle is None else producer.db_unit() as unit:
            worked = work(polled.records, lambda batch: self._attempt(batch, unit))
            self._break_if_buggy(worked, len(polled.records))
            unit.append([*worked.outputs, *self._dead_letters(worked)])
            unit.advance(polled.token, next_offsets(polled))
            unit.commit()
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
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            raise TransientError(f"the database is away: {error}") from error

    def _dead_letters(self, worked: Worked) -> list[NewRecord]:
        now = datetime.now(UTC)
        for record, error in worked.failed:
            self._metrics.dead_letters_total.labels(topic=record.topic, reason=type(error).__name__).inc()
            self._log.warning(
                "dead letter", topic=record.topic, partition=record.partition, offset=record.offset,
                event_id=record.headers.get("event_id", b"").decode(errors="replace"),
                error=type(error).__name__, cause=str(error),
            )  # fmt: skip
        return [dead_letter(self.service, record, error, 1, now) for record, error in worked.failed]

    def _break_if_buggy(self, worked: Worked, taken: int) -> None:
        unexpected = [error for _, error in worked.failed if not isinstance(error, InvalidEvent)]
        self._unexpected.extend([True] * len(unexpected) + [False] * min(BREAKER_OF, taken - len(worked.failed)))
        if unexpected and sum(self._unexpected) > BREAKER:
            raise HeadraceError(
                f"{sum(self._unexpected)} of the last {len(self._unexpected)} records failed in an unexpected way, last"
                f" {type(unexpected[-1]).__name__}: stopped before good records become dead letters"
            ) from unexpected[-1]

    def _observe(self, polled: Polled, worked: Worked, took_s: float) -> None:
        metrics = self._metrics
        for topic in self.reads:
            count = sum(record.topic == topic for record in polled.records)
            if count:
                metrics.records_total.labels(service=self.service, topic=topic, outcome="handled").inc(count)
        newest_ms = max(record.timestamp_ms for record in polled.records)
        metrics.units_total.labels(outcome="committed").inc()
        metrics.batch_duration_seconds.labels(stage=self.service).observe(took_s)
        metrics.batch_size_records.observe(len(polled.records))
        metrics.event_age_seconds.labels(stage=self.service).set(max(0.0, time.time() - newest_ms / 1000))
        metrics.last_success_timestamp_seconds.set(time.time())
        if worked.failed:
            metrics.records_total.labels(service=self.service, topic="dead letter", outcome="failed").inc(
                len(worked.failed)
            )

    def _wait_out(self, error: TransientError) -> None:
        delay_s = self._backoff.next_s()
        self.state = "backing off"
        self._metrics.retries_total.labels(operation=self.service, reason="transient").inc()
        self._log.warning("waiting for trouble to pass", error=str(error), delay_s=round(delay_s, 2))
        self._stop.wait(delay_s)

    def _reload(self, consumer: Consumer) -> None:
        """Back to what is committed; where even that fails, the next poll meets the same trouble and waits."""
        while not self._stop.is_set():
            try:
                consumer.reload()
            except TransientError as error:
                self.ticked_at = time.monotonic()
                self._wait_out(error)
            else:
                return


def _calm_the_collector() -> None:
    """A batch is many thousand live objects without a cycle: at the default threshold (700) the collector walks them
    over and over, which was measured to cost half as much again as handling them."""
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)


def next_offsets(polled: Polled) -> dict[TopicPartition, int]:
    """Where to go on after these records."""
    return {TopicPartition(record.topic, record.partition): record.offset + 1 for record in polled.records}
