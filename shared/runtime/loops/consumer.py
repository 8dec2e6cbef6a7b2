"""The consumer loop: poll, decode, handle, append, advance, commit. Four services are this and a handler."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime

import structlog

from shared.broker.contract import Broker, Consumer, NewRecord, Polled, Producer, TopicPartition, Unit
from shared.errors import BrokerError, TransientError
from shared.ops.orders import Orders
from shared.records import Received
from shared.runtime.control.mailbox import Steering
from shared.runtime.control.partition_gate import POLL_S, PartitionGate
from shared.runtime.dead_letters.breaker import Breaker, Tripped
from shared.runtime.dead_letters.letter import dead_letter
from shared.runtime.loops.backoff import LOOP_BACKOFF
from shared.runtime.loops.batch import Worked, work
from shared.runtime.loops.handler import Handler
from shared.runtime.loops.metrics_of_unit import record_commit
from shared.runtime.loops.slow_handler import GroupMembership
from shared.runtime.loops.worker_thread import caller
from shared.runtime.metrics import Metrics
from shared.topics import dead_letter_topic


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
        handler: Handler,
        max_records: int = 2000,
        steering: Steering | None = None,
    ) -> None:
        """Without `steering` there are no orders: everything runs."""
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
        self._max_records = max_records
        self._backoff = LOOP_BACKOFF
        self._failures = 0
        self._breaker = Breaker(service)
        self._gate = PartitionGate(self.reads, steering or Steering(Orders()), self._breaker, metrics)
        self._consumer: Consumer | None = None
        self._producer: Producer | None = None
        self._failed = False
        self._stop = threading.Event()
        self._log = structlog.get_logger()

    def stop(self) -> None:
        self._stop.set()

    def run(self) -> None:
        """Until stopped. Trouble that may pass is waited out; anything unexpected goes up and ends the process."""
        _calm_the_collector()
        try:
            while not self._stop.is_set():
                self._tick()
                self._turn()
        finally:  # also when it dies: the partitions go to the other replicas at once
            self._let_go()
            self.state, self.trouble = "stopped", ""

    def _turn(self) -> None:
        """A step; after a failed one, the committed positions before the next. Each fails into the same waiting.

        The producer comes first: making it settles what became of the unit that failed, and positions after that.
        """
        in_database = self._handler.in_database
        try:
            self._producer = self._producer or self._broker.producer(self._slot, in_database=in_database)
            if self._failed and self._consumer is not None:
                self._consumer.reload()
            self._failed = False
            self._consumer = self._consumer or self._broker.consumer(
                self.service, self.reads, self._slot, in_database=in_database
            )
            self.step(self._consumer, self._producer)
        except Tripped as tripped:
            self._failed = True
            self._gate.trip(tripped)
        except (TransientError, BrokerError) as error:
            self._failed = True
            if isinstance(error, BrokerError):
                self._metrics.units_total.labels(outcome=type(error).__name__.lower()).inc()
                self._drop_producer()
                self._gate.distrust()
            self._wait_out(error)

    def _drop_producer(self) -> None:
        if self._producer is not None:
            self._producer.close()
            self._producer = None

    def _let_go(self) -> None:
        for part in (self._caller, self._consumer, self._producer):
            if part is not None:
                part.close()

    def step(self, consumer: Consumer, producer: Producer) -> int:
        """One batch, one unit: all of it or none. Returns how many records it took."""
        polled = self._poll(consumer)
        if not polled.records:
            self._failures = 0
            return 0
        started = time.perf_counter()
        membership = GroupMembership(consumer, self._gate, self._stop, self._tick)
        with self._handler.unit(producer) as unit:
            trial = self._breaker.trial(polled.records)
            worked = work(polled.records, lambda batch: self._attempt(batch, unit, membership), trial.note)
            membership.check()
            unit.append([*worked.outputs, *self._dead_letters(worked)])
            unit.advance(polled.token, next_offsets(polled), self._gate.seq)
            unit.commit()
        self._breaker.keep(trial)
        self._failures = 0
        record_commit(self._metrics, self.service, polled.records, worked, time.perf_counter() - started)
        return len(polled.records)

    def _poll(self, consumer: Consumer) -> Polled:
        """What may be handled under the latest orders. Every record that was polled before is committed."""
        wait_s = self._gate.before_poll(consumer)
        polled = self._gate.after_poll(consumer, consumer.poll(wait_s, self._max_records))
        self._tick()
        self.state, self.trouble = self._gate.state()
        return polled

    def _attempt(self, batch: Sequence[Received], unit: Unit, membership: GroupMembership) -> Sequence[NewRecord]:
        self._tick()
        return self._caller.call(lambda: self._handler.call(batch, unit), membership.keep)

    def _dead_letters(self, worked: Worked) -> list[NewRecord]:
        """One for each failed record, except those that lie in our own dead letters already: they stay there."""
        now = datetime.now(UTC)
        own = dead_letter_topic(self.service)
        return [dead_letter(self.service, each, now) for each in worked.failed if each.record.topic != own]

    def _wait_out(self, error: TransientError | BrokerError) -> None:
        self._failures += 1
        delay_s = self._backoff.delay_s(self._failures)
        kind, cause = type(error).__name__, str(error)
        self.state, self.trouble = "backing off", cause
        self._metrics.retries_total.labels(operation=self.service, reason=kind).inc()
        self._log.warning(
            "waiting, then on from the committed positions", error=kind, cause=cause, delay_s=round(delay_s, 2)
        )
        self._rest(delay_s)

    def _rest(self, delay_s: float) -> None:
        """Wait as a member: one that is silent for long is thrown out of its group, and holds up the others' sharing.

        What a poll gives nonetheless (of a partition that came just then) is polled again after the reload.
        """
        until = time.monotonic() + delay_s
        try:
            while self._consumer and not self._stop.is_set() and (left_s := until - time.monotonic()) > 0:
                self._gate.poll_paused(self._consumer, min(left_s, POLL_S))
                self._gate.assign(self._consumer)
                self._tick()
        except (TransientError, BrokerError):
            pass  # the broker is what is away
        self._stop.wait(max(0.0, until - time.monotonic()))

    def _tick(self) -> None:
        self.ticked_at = time.monotonic()
        self.assigned = len(self._gate.owned)


def _calm_the_collector() -> None:
    """A batch is many thousand live objects without a cycle: at the default threshold (700) the collector walks them
    over and over, which was measured to cost half as much again as handling them."""
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)


def next_offsets(polled: Polled) -> dict[TopicPartition, int]:
    """Where to go on after these records."""
    last = {(record.topic, record.partition): record.offset for record in polled.records}
    return {TopicPartition(*tp): offset + 1 for tp, offset in last.items()}
