"""The poller loop: ask a source for its next step, append it and its cursors in one unit. The fetcher is this."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from contextlib import closing

import structlog

from shared.broker.contract import Broker, Consumer, Producer, TopicPartition
from shared.errors import BrokerError, TransientError
from shared.ops.orders import Doing, Orders
from shared.runtime.control.mailbox import Steering
from shared.runtime.control.partition_gate import NO_ORDERS_POLL_S
from shared.runtime.loops.backoff import LOOP_BACKOFF
from shared.runtime.loops.handler import Pollable, Step
from shared.runtime.metrics import Metrics
from shared.runtime.process.watchdog import Watchdog

NEXT_S = 0.5
# How long a replica that stands by waits before it looks again whether the source is free.
STANDBY_S = 0.5


class PollerLoop:
    """Drives one source. One replica at a time: the owner of the cursor topic's partition; the others stand by.

    Orders are about the topic that it writes, as if that had one partition.
    """

    def __init__(
        self,
        broker: Broker,
        *,
        service: str,
        slot: str,
        cursors: str,
        source: Pollable,
        metrics: Metrics,
        writes: str = "",
        steering: Steering | None = None,
    ) -> None:
        """Without `steering` nobody orders anything: it runs."""
        self.service = service
        self.reads: tuple[str, ...] = (cursors,)
        self.state = "starting"
        self.trouble = ""
        self.ticked_at = time.monotonic()
        self.assigned = 0
        self._broker = broker
        self._slot = f"{service}-{slot}"
        self._cursors = cursors
        self._source = source
        self._metrics = metrics
        self._writes = writes
        self._steering = steering or Steering(Orders())
        self._orders = Orders()
        # Whether it works since it owns: orders that grew old since then hold on.
        self._began = False
        self._failures = 0
        self._consumer: Consumer | None = None
        self._stop = threading.Event()
        self._log = structlog.get_logger()

    def stop(self) -> None:
        self._stop.set()

    def run_until(self, stop: threading.Event) -> None:
        """`run` as work beside another loop (run.Background), watched as that one is: `stop` is the stop of both."""
        self._stop = stop
        with Watchdog(self):
            self.run()

    def run(self) -> None:
        """Until stopped. After any failed unit everything starts over from the committed cursors."""
        try:
            while not self._stop.is_set():
                try:
                    self._consumer = self._consumer or self._broker.consumer(self.service, [self._cursors], self._slot)
                    if self._owns(self._consumer) and self._may_work(self._consumer):
                        self._drive(self._consumer)
                except (TransientError, BrokerError) as error:
                    self._began = False
                    self._wait_out(error)
        finally:  # also when it dies: a replica that stands by takes over at once
            if self._consumer is not None:
                self._consumer.close()
            self.state, self.trouble = "stopped", ""

    def _owns(self, consumer: Consumer) -> bool:
        """Being the owner is all that the group is for: its records are paused, `cursors` reads them whole."""
        consumer.poll(0, 1)
        self._tick()
        owned = consumer.assignment()
        self.assigned = len(owned)
        if owned:
            consumer.pause(list(owned))
            return True
        self._began = False
        if self._knows_orders():
            self.state, self.trouble = "standing by", ""
            self._obey({})
        consumer.poll(STANDBY_S, 1)  # not a sleep: who joins a group must poll to get its share
        return False

    def _may_work(self, consumer: Consumer) -> bool:
        """Whether the owner is to ask its source now. Where not, the answer takes a moment, and it stays a member."""
        if not self._knows_orders():
            consumer.poll(NO_ORDERS_POLL_S, 1)
            return False
        self._began = True
        paused = self._orders.paused(self._writes)
        self._obey({TopicPartition(self._writes, 0): Doing("paused" if paused else "running")})
        if paused:
            self.state, self.trouble = "paused", ""
            consumer.poll(STANDBY_S, 1)
        return not paused

    def _knows_orders(self) -> bool:
        """Whether what is wanted is known, and was read lately where the work begins only now."""
        orders = self._steering.orders()
        if orders is None or not (self._began or self._steering.is_fresh()):
            self.state, self.trouble = "waiting for orders", "the database has not told yet what is wanted"
            return False
        self._orders = orders
        return True

    def _obey(self, doing: Mapping[TopicPartition, Doing]) -> None:
        self._steering.obey(self._orders.seq, doing)
        if self._writes:
            self._metrics.paused.labels(self._writes).set(self._orders.paused(self._writes))

    def _drive(self, consumer: Consumer) -> None:
        # One slot for all replicas: the new owner's producer fences a former one that still thinks it owns. Made before
        # the cursors are read: it settles what that one left open, and only then are the cursors final. Left with any
        # failed unit, so that the next has a new one.
        with closing(self._broker.producer(f"{self.service}/{self._cursors}")) as producer:
            self._source.load(self._broker.cursors(self._cursors))
            while not self._stop.is_set() and self._owns(consumer):
                if not self._may_work(consumer):
                    continue
                self.state, self.trouble = "running", ""
                step = self._source.next(NEXT_S)
                self._tick()
                if step is not None:
                    self._commit(step, producer)
                self._failures = 0

    def _commit(self, step: Step, producer: Producer) -> None:
        started = time.perf_counter()
        with producer.unit() as unit:
            unit.append(step.records)
            for key, value in step.cursors.items():
                unit.cursor_set(self._cursors, key, value)
            unit.commit()
        metrics = self._metrics
        metrics.units_total.labels(outcome="committed").inc()
        metrics.batch_duration_seconds.labels(stage=self.service).observe(time.perf_counter() - started)
        metrics.batch_size_records.observe(len(step.records))
        metrics.last_success_timestamp_seconds.set(time.time())
        for topic in {record.topic for record in step.records}:
            count = sum(record.topic == topic for record in step.records)
            metrics.records_total.labels(service=self.service, topic=topic, outcome="appended").inc(count)

    def _wait_out(self, error: Exception) -> None:
        self._failures += 1
        delay_s = LOOP_BACKOFF.delay_s(self._failures)
        self.state, self.trouble = "backing off", str(error)
        self._metrics.retries_total.labels(operation=self.service, reason=type(error).__name__).inc()
        self._log.warning("starting over from the committed cursors", error=str(error), delay_s=round(delay_s, 2))
        self._stop.wait(delay_s)  # a few seconds at most, then the group is polled again

    def _tick(self) -> None:
        self.ticked_at = time.monotonic()
