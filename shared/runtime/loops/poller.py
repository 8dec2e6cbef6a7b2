"""Runs the poller loop: asks a source for its next step and appends its records and cursors in one unit."""

from __future__ import annotations

import gc
import threading
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from operator import attrgetter

import structlog

from shared.broker.contract import Broker, Consumer, Producer, TopicPartition
from shared.errors import BrokerError, TransientError
from shared.ops.orders import Orders, PartitionStatus
from shared.runtime.control.mailbox import ControlMailbox
from shared.runtime.control.partition_gate import NO_ORDERS_POLL_S
from shared.runtime.loops.backoff import LOOP_BACKOFF
from shared.runtime.loops.handler import Pollable, SourceStep
from shared.runtime.metrics import Metrics
from shared.runtime.process.watchdog import Watchdog

NEXT_S = 0.5
# How often a standby replica checks whether it has become the owner.
STANDBY_S = 0.5
# How often an idle source checks that the database still holds what it has committed.
VERIFY_EVERY_S = 1.0


class PollerLoop:
    """Runs one source. One replica is active: the owner of the cursor topic's partition; the others stand by.

    Orders apply to the topic that it writes, as if that topic had one partition.
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
        mailbox: ControlMailbox | None = None,
    ) -> None:
        """Without a control mailbox there are no orders: it runs."""
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
        self._mailbox = mailbox or ControlMailbox(Orders())
        self._orders = Orders()
        # Whether it has started to work as the owner. From then on orders apply even if they are no longer fresh.
        self._has_started = False
        self._failures = 0
        self._consumer: Consumer | None = None
        self._stop = threading.Event()
        self._log = structlog.get_logger()

    def stop(self) -> None:
        self._stop.set()

    def run_until(self, stop: threading.Event) -> None:
        """`run` as a background task beside another loop, with a watchdog. `stop` stops both loops."""
        self._stop = stop
        with Watchdog(self):
            self.run()

    def run(self) -> None:
        """Run until stopped. After a failed unit, continue from the committed cursors."""
        # What exists now lives as long as the process: without this, each full collection visits all of it. The
        # thresholds stay, because rarer collections would keep large documents that errors refer to in cycles.
        gc.freeze()
        try:
            while not self._stop.is_set():
                try:
                    self._consumer = self._consumer or self._broker.consumer(self.service, [self._cursors], self._slot)
                    if self._owns(self._consumer) and self._may_run(self._consumer):
                        self._run_source(self._consumer)
                except (TransientError, BrokerError) as error:
                    self._has_started = False
                    self._back_off(error)
        finally:  # also after a crash: a standby replica takes over immediately
            if self._consumer is not None:
                self._consumer.close()
            self.state, self.trouble = "stopped", ""

    def _owns(self, consumer: Consumer) -> bool:
        """Whether this replica is the owner. The group only elects the owner: its partition is paused, because
        `Broker.cursors` reads the whole topic."""
        consumer.poll(0, 1)
        self._tick()
        owned = consumer.assignment()
        self.assigned = len(owned)
        if owned:
            consumer.pause(list(owned))
            return True
        self._has_started = False
        if self._refresh_orders():
            self.state, self.trouble = "standing by", ""
            self._publish_status({})
        consumer.poll(STANDBY_S, 1)  # not a sleep: a member must poll to get its partitions
        return False

    def _may_run(self, consumer: Consumer) -> bool:
        """Whether the owner may ask its source now. If not, polls once to wait and to remain a member of the group."""
        if not self._refresh_orders():
            consumer.poll(NO_ORDERS_POLL_S, 1)
            return False
        self._has_started = True
        paused = self._orders.paused(self._writes)
        self._publish_status({TopicPartition(self._writes, 0): PartitionStatus("paused" if paused else "running")})
        if paused:
            self.state, self.trouble = "paused", ""
            consumer.poll(STANDBY_S, 1)
        return not paused

    def _refresh_orders(self) -> bool:
        """Read the orders; whether they are known, and fresh if the work has not started yet."""
        orders = self._mailbox.orders()
        if orders is None or not (self._has_started or self._mailbox.is_fresh()):
            self.state, self.trouble = "waiting for orders", "the orders have not been read from the database yet"
            return False
        self._orders = orders
        return True

    def _publish_status(self, statuses: Mapping[TopicPartition, PartitionStatus]) -> None:
        self._mailbox.set_status(self._orders.seq, statuses)
        if self._writes:
            self._metrics.paused.labels(self._writes).set(self._orders.paused(self._writes))

    def _run_source(self, consumer: Consumer) -> None:
        # All replicas use one slot, so the new owner's producer fences the previous owner. It is created before the
        # cursors are read, because it ends the previous owner's open unit, and only then are the cursors final. A
        # failed unit leaves this block, so the next unit gets a new producer.
        with closing(self._broker.producer(f"{self.service}/{self._cursors}")) as producer:
            self._source.load(self._broker.cursors(self._cursors))
            verified_at_s = time.monotonic()
            while not self._stop.is_set() and self._owns(consumer):
                if not self._may_run(consumer):
                    continue
                self.state, self.trouble = "running", ""
                step = self._source.next(NEXT_S)
                self._tick()
                if step is None and time.monotonic() > verified_at_s + VERIFY_EVERY_S:
                    producer.verify()
                    verified_at_s = time.monotonic()
                if step is not None:
                    self._commit(step, producer)
                self._failures = 0

    def _commit(self, step: SourceStep, producer: Producer) -> None:
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
        for topic, count in Counter(map(attrgetter("topic"), step.records)).items():
            metrics.records_total.labels(service=self.service, topic=topic, outcome="appended").inc(count)

    def _back_off(self, error: Exception) -> None:
        self._failures += 1
        delay_s = LOOP_BACKOFF.delay_s(self._failures)
        self.state, self.trouble = "backing off", str(error)
        self._metrics.retries_total.labels(operation=self.service, reason=type(error).__name__).inc()
        self._log.warning("step_failed", error=str(error), delay_s=round(delay_s, 2))
        self._stop.wait(delay_s)  # short enough to remain a member without polling

    def _tick(self) -> None:
        self.ticked_at = time.monotonic()
