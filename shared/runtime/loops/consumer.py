"""Runs the consumer loop: poll, decode, handle, append, advance, commit. Four services consist of it and a handler."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime

import structlog

from shared.broker.contract import (
    Broker,
    Consumer,
    Damaged,
    NewRecord,
    Ownership,
    PollResult,
    Producer,
    TopicPartition,
    Unit,
)
from shared.broker.record_size import SizeLimits
from shared.errors import BrokerError, RecordTooLarge, TransientError
from shared.ops.holds import Hold, cause_of_damage
from shared.ops.orders import Orders
from shared.records import DecodedRecord
from shared.runtime.control.mailbox import ControlMailbox
from shared.runtime.control.partition_gate import POLL_S, PartitionGate
from shared.runtime.dead_letters.breaker import Breaker, Tripped
from shared.runtime.dead_letters.letter import dead_letter
from shared.runtime.loops.backoff import LOOP_BACKOFF
from shared.runtime.loops.batch import BatchResult, process_batch
from shared.runtime.loops.batch_size import BatchSize
from shared.runtime.loops.handler import Handler
from shared.runtime.loops.metrics_of_unit import record_commit
from shared.runtime.loops.quarantine import MAX_DEATHS, Notes, Quarantine
from shared.runtime.loops.slow_handler import GroupMembership
from shared.runtime.loops.trouble import needs_smaller_batch
from shared.runtime.loops.worker_thread import caller
from shared.runtime.metrics import Metrics
from shared.topics import dead_letter_topic

# The interval between two garbage collections.
COLLECT_EVERY_S = 60.0


class ConsumerLoop:
    """Runs one handler over the topics that it reads. Call `run` in one thread; any thread may call `stop`."""

    def __init__(
        self,
        broker: Broker,
        *,
        service: str,
        slot: str,
        reads: Sequence[str],
        metrics: Metrics,
        handler: Handler,
        max_records: int = 2000,
        mailbox: ControlMailbox | None = None,
        notes: Notes | None = None,
        max_deaths: int = MAX_DEATHS,
    ) -> None:
        """Without a control mailbox there are no orders: everything runs. Without `notes` of the attempts, no record is
        quarantined; with them, after `max_deaths` of the process."""
        self.service = service
        self.reads = tuple(reads)
        self.state = "starting"
        self.trouble = ""
        self.ticked_at = time.monotonic()
        self.assigned = 0
        self._broker = broker
        self._slot = f"{service}-{slot}"
        self._handler = handler
        self._caller = caller(f"{service} handler", slow=handler.slow)
        self._metrics = metrics
        self._quarantine = Quarantine(notes, max_deaths, max_records)
        self._batch_size = BatchSize(max_records)
        self._polled_records = 0
        self._backoff = LOOP_BACKOFF
        self._failures = 0
        self._breaker = Breaker(service)
        self._limits = SizeLimits()
        self._gate = PartitionGate(service, self.reads, mailbox or ControlMailbox(Orders()), self._breaker, metrics)
        self._consumer: Consumer | None = None
        self._producer: Producer | None = None
        self._needs_reload = False
        self._stop = threading.Event()
        self._log = structlog.get_logger()

    def stop(self) -> None:
        self._stop.set()

    def run(self) -> None:
        """Run until stopped. Backs off after transient errors; unexpected errors propagate and end the process."""
        _tune_garbage_collector()
        collected_at_s = time.monotonic()
        try:
            while not self._stop.is_set():
                self._tick()
                self._run_step()
                if time.monotonic() - collected_at_s > COLLECT_EVERY_S:
                    gc.collect()
                    collected_at_s = time.monotonic()
        finally:  # also after a crash: the other replicas get the partitions immediately
            self._close_all()
            self.state, self.trouble = "stopped", ""

    def _run_step(self) -> None:
        """One step. After a failed one, first create a producer and reload the committed positions.

        The producer comes first: creating it ends the failed unit, and only then are the committed
        positions final. An error in any of these backs off.
        """
        in_database = self._handler.in_database
        try:
            self._producer = self._producer or self._broker.producer(self._slot, in_database=in_database)
            if self._needs_reload and self._consumer is not None:
                self._consumer.reload()
            self._needs_reload = False
            self._consumer = self._consumer or self._broker.consumer(
                self.service, self.reads, self._slot, in_database=in_database
            )
            self.step(self._consumer, self._producer)
        except Tripped as tripped:
            self._needs_reload = True
            self._quarantine.abort()
            self._gate.hold(tripped.tp, "breaker", {"message": str(tripped)})
        except Damaged as damaged:
            self._needs_reload = True
            self._gate.hold(damaged.tp, "damaged", cause_of_damage(self.service, damaged))
        except (TransientError, BrokerError) as error:
            self._needs_reload = True
            self._quarantine.abort()
            if isinstance(error, RecordTooLarge):  # the next try finds the record that it is the output of
                self._limits.learn(error, cuts=error.topic == dead_letter_topic(self.service))
            if needs_smaller_batch(error):
                self._batch_size.shrink(self._polled_records)
            if isinstance(error, BrokerError):
                self._metrics.units_total.labels(outcome=type(error).__name__.lower()).inc()
                self._drop_producer()
                self._gate.distrust()
            self._back_off(error)

    def _drop_producer(self) -> None:
        if self._producer is not None:
            self._producer.close()
            self._producer = None

    def _close_all(self) -> None:
        for part in (self._caller, self._consumer, self._producer, self._quarantine):
            if part is not None:
                part.close()

    def step(self, consumer: Consumer, producer: Producer) -> int:
        """Handle one batch in one unit. Returns the number of records."""
        self._polled_records = self._batch_size.records  # of a poll that fails
        polled = self._poll(consumer)
        for hold in self._gate.decided_holds():
            self._continue_after(hold, consumer, producer, polled.token)
        if not polled.records:
            self._failures = 0
            return 0
        if self._quarantine.is_too_large(polled.records):
            consumer.reload()
            return 0
        self._polled_records = len(polled.records)
        started = time.perf_counter()
        membership = GroupMembership(consumer, self._gate, self._stop, self._tick)
        with self._handler.unit(producer) as unit:
            batch_failures = self._breaker.begin_batch(polled.records)
            result = process_batch(
                polled.records,
                lambda batch: self._attempt(batch, unit, membership),
                batch_failures.record_failure,
                self._quarantine.begin(polled.records),
            )
            membership.check()
            unit.append([*result.outputs, *self._dead_letters(result)])
            unit.advance(polled.token, next_offsets(polled), self._gate.seq)
            unit.commit()
        self._breaker.commit(batch_failures)
        self._quarantine.commit(polled.records)
        self._batch_size.grow()
        self._failures = 0
        record_commit(self._metrics, self.service, polled.records, result, time.perf_counter() - started)
        return len(polled.records)

    def _continue_after(self, hold: Hold, consumer: Consumer, producer: Producer, token: Ownership) -> None:
        """Commit the position at which an operator has decided to continue, and end the hold."""
        skipped = (hold.continue_at or 0) - consumer.position(hold.tp)
        if skipped > 0:
            with self._handler.unit(producer) as unit:
                unit.advance(token, {hold.tp: hold.continue_at or 0}, self._gate.seq)
                unit.commit()
            consumer.seek(hold.tp, hold.continue_at or 0)
            self._metrics.records_skipped_total.labels(self.service, *hold.tp).inc(skipped)
            topic, partition = hold.tp
            self._log.warning("records_skipped", topic=topic, partition=partition, records=skipped, kind=hold.kind)
        self._gate.end_hold(hold)

    def _poll(self, consumer: Consumer) -> PollResult:
        """The records that may be handled under the latest orders. All records polled before must be committed."""
        wait_s = self._gate.before_poll(consumer)
        max_records = min(self._batch_size.records, self._quarantine.before_poll(self._gate.owned))
        polled = self._gate.after_poll(consumer, consumer.poll(wait_s, max_records))
        self._tick()
        self.state, self.trouble = self._gate.state()
        return polled

    def _attempt(self, batch: Sequence[DecodedRecord], unit: Unit, membership: GroupMembership) -> Sequence[NewRecord]:
        self._tick()
        return self._caller.call(lambda: self._handler.call(batch, unit, self._limits), membership.keep)

    def _dead_letters(self, result: BatchResult) -> list[NewRecord]:
        """One for each failed record, except records of the service's own dead-letter topic: they stay there."""
        now = datetime.now(UTC)
        own = dead_letter_topic(self.service)
        limit = self._limits.of(own)
        return [dead_letter(self.service, each, now, limit) for each in result.failures if each.record.topic != own]

    def _back_off(self, error: TransientError | BrokerError) -> None:
        self._failures += 1
        delay_s = self._backoff.delay_s(self._failures)
        kind, cause = type(error).__name__, str(error)
        self.state, self.trouble = "backing off", cause
        self._metrics.retries_total.labels(operation=self.service, reason=kind).inc()
        self._log.warning(
            "step_failed", error=kind, cause=cause, delay_s=round(delay_s, 2), next_records=self._batch_size.records
        )
        self._poll_while_waiting(delay_s)

    def _poll_while_waiting(self, delay_s: float) -> None:
        """Wait, and keep polling to stay a member: a silent member delays rebalances and is removed from its group.

        A poll may return records of a newly assigned partition; they are polled again after the reload.
        """
        until = time.monotonic() + delay_s
        try:
            while self._consumer and not self._stop.is_set() and (left_s := until - time.monotonic()) > 0:
                self._gate.poll_paused(self._consumer, min(left_s, POLL_S))
                self._gate.assign(self._consumer)
                self._tick()
        except (TransientError, BrokerError):
            pass  # the broker itself is unavailable
        self._stop.wait(max(0.0, until - time.monotonic()))

    def _tick(self) -> None:
        self.ticked_at = time.monotonic()
        self.assigned = len(self._gate.owned)


def _tune_garbage_collector() -> None:
    """Collect only between units, unless cycles pile up. The objects of a unit, several hundred thousand, have no
    cycles and live until it ends: collections inside it, at a threshold of 100,000, took a tenth of the loader's CPU
    time."""
    gc.freeze()
    gc.set_threshold(1_000_000, 20, 20)


def next_offsets(polled: PollResult) -> dict[TopicPartition, int]:
    """The positions after these records."""
    last = {(record.topic, record.partition): record.offset for record in polled.records}
    return {TopicPartition(*tp): offset + 1 for tp, offset in last.items()}
