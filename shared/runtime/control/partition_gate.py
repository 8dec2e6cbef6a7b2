"""Decides which partitions a loop must not handle: because of an order, the breaker, or missing or stale orders."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Literal

import structlog

from shared.broker.contract import Consumer, PollResult, TopicPartition
from shared.errors import BrokerError, TransientError
from shared.ops.orders import Orders, PartitionStatus, new_resume_orders
from shared.runtime.control.mailbox import ControlMailbox
from shared.runtime.dead_letters.breaker import Breaker, Tripped
from shared.runtime.metrics import Metrics

# Positions are published at most this often; a changed state immediately.
PUBLISH_S = 0.5
# The timeout of a poll, and the shorter one until the first orders are known.
POLL_S = 0.5
NO_ORDERS_POLL_S = 0.1

log = structlog.get_logger(__name__)

HoldReason = Literal["no orders", "old orders", "paused", "tripped", "lost", "busy"]


class PartitionGate:
    """Used by the loop's thread between two units: call `before_poll`, poll, call `after_poll`."""

    def __init__(
        self, service: str, reads: tuple[str, ...], mailbox: ControlMailbox, breaker: Breaker, metrics: Metrics
    ) -> None:
        self.owned: frozenset[TopicPartition] = frozenset()
        # The partitions that are paused in the consumer, and why. All are resumed later, including revoked ones,
        # because they may return.
        self.held: Mapping[TopicPartition, HoldReason] = {}
        self.seq = 0  # the number of the newest order that is obeyed
        self._service = service
        self._reads = reads
        self._mailbox = mailbox
        self._breaker = breaker
        self._metrics = metrics
        self._orders: Orders | None = None
        # Partitions assigned while the orders were stale: newer orders may contradict them.
        self._with_stale_orders: frozenset[TopicPartition] = frozenset()
        self._tripped: dict[TopicPartition, str] = {}
        # By partition, the cause why its records are lost. The consumer returns none of them until that is accepted.
        self._lost: dict[TopicPartition, str] = {}
        # By topic, the failures tolerated by orders that are not effective yet; for partitions assigned until then.
        self._tolerate: dict[str, int] = {}
        self._positions: dict[TopicPartition, int] = {}
        self._published_at_s = 0.0
        self._changed = True

    def before_poll(self, consumer: Consumer) -> float:
        """Apply the latest orders. Call only when every polled record is committed. Returns the timeout for the poll in
        seconds: 0 if a changed state has to be published after it."""
        self._refresh()
        self._apply(consumer)
        wait_s = NO_ORDERS_POLL_S if self._orders is None else 0.0 if self._changed else POLL_S
        self._record_positions(consumer)
        return wait_s

    def after_poll(self, consumer: Consumer, polled: PollResult) -> PollResult:
        """The records that may be handled. A rebalance may have assigned a held partition that is not paused yet; if
        the poll returned records of it, all records are discarded and the consumer is reloaded."""
        self.assign(consumer)
        self._record_losses(consumer)
        self._apply(consumer)
        if self.held and any((each.topic, each.partition) in self.held for each in polled.records):
            consumer.reload()
            polled = polled._replace(records=[])
        self._publish()
        return polled

    def poll_paused(self, consumer: Consumer, timeout_s: float) -> PollResult:
        """Poll with everything paused, to remain a member of the group. The partitions stay paused until `before_poll`.
        Only a partition that is assigned in this poll returns records."""
        self.pause_all(consumer)
        return consumer.poll(timeout_s, 1)

    def pause_all(self, consumer: Consumer) -> None:
        owned = consumer.assignment()
        consumer.pause(sorted(owned))
        self.held = {**self.held, **dict.fromkeys(owned, "busy")}

    def assign(self, consumer: Consumer) -> None:
        """Apply the consumer's assignment after its last poll."""
        owned = consumer.assignment()
        if owned == self.owned:
            return
        assigned = owned - self.owned
        for tp in assigned:
            if tp.topic in self._tolerate:
                self._breaker.release(tp, self._tolerate[tp.topic])
        still_stale = self._with_stale_orders & owned
        self._with_stale_orders = still_stale if self._mailbox.is_fresh() else still_stale | assigned
        self.owned, self._changed = owned, True
        self._metrics.rebalances_total.inc()

    def distrust(self) -> None:
        """Call after a failed unit. If the orders are stale, hold the owned partitions until fresh orders are read,
        because another replica may have owned them in between."""
        if not self._mailbox.is_fresh():
            self._with_stale_orders, self._changed = self.owned, True

    def trip(self, tripped: Tripped) -> None:
        """Hold a partition until a resume order or a restart; its batch is polled again without it."""
        tp, cause = tripped.tp, str(tripped)
        self._tripped[tp], self._changed = cause, True
        self._metrics.tripped_partitions.labels(*tp).set(1)
        log.error("partition_tripped", topic=tp.topic, partition=tp.partition, cause=cause)

    def state(self) -> tuple[str, str]:
        """The loop's state after a poll, and the reason if it is not ready."""
        if self._orders is None:
            return "waiting for orders", "the orders have not been read from the database yet"
        if self._with_stale_orders:
            return "waiting for orders", "partitions were assigned while the orders could not be read from the database"
        causes = [cause for tp in sorted(self.held) if (cause := self._cause(tp)) is not None]
        if causes:
            return "tripped", "; ".join(causes)
        return "paused" if all(map(self._orders.paused, self._reads)) else "running", ""

    def _refresh(self) -> None:
        """Apply the latest orders. A resume order also releases tripped partitions."""
        orders = self._mailbox.orders()
        if self._with_stale_orders and self._mailbox.is_fresh():
            self._with_stale_orders, self._changed = frozenset(), True
        if orders is None or orders == self._orders:
            return
        for order in new_resume_orders(self._orders, orders):
            for tp in {each for each in self.owned | self._tripped.keys() if each.topic == order.topic}:
                self._breaker.release(tp, order.tolerate)
                self._metrics.tripped_partitions.labels(*tp).set(0)
                self._tripped.pop(tp, None)
        self._tolerate = {topic: order.tolerate for topic, order in orders.by_topic.items() if order.tolerate > 0}
        self._orders, self.seq, self._changed = orders, orders.seq, True
        for topic in self._reads:
            self._metrics.paused.labels(topic).set(orders.paused(topic))

    def _apply(self, consumer: Consumer) -> None:
        """Pause the held partitions in the consumer and resume the others."""
        held = {tp: reason for tp in consumer.assignment() if (reason := self._reason(tp)) is not None}
        if held.keys() != self.held.keys():
            consumer.resume(sorted(self.held.keys() - held.keys()))
            consumer.pause(sorted(held.keys() - self.held.keys()))
        self.held = held

    def _reason(self, tp: TopicPartition) -> HoldReason | None:
        if self._orders is None:
            return "no orders"
        if tp in self._with_stale_orders:
            return "old orders"
        if self._orders.paused(tp.topic):
            return "paused"
        if tp in self._lost:
            return "lost"
        return "tripped" if tp in self._tripped else None

    def _cause(self, tp: TopicPartition) -> str | None:
        """Why the partition waits for a person; None if it does not."""
        reason = self.held.get(tp)
        return self._lost.get(tp) if reason == "lost" else self._tripped.get(tp) if reason == "tripped" else None

    def _record_losses(self, consumer: Consumer) -> None:
        """Report what the consumer says is lost, and what was accepted since the last poll."""
        losses = consumer.losses()
        causes = {tp: loss.cause for tp, loss in losses.items()}
        for tp in causes.keys() - self._lost.keys():
            loss = losses[tp]
            self._metrics.records_lost_total.labels(self._service, *tp).inc(loss.uncounted)
            log.error(
                "records_lost", topic=tp.topic, partition=tp.partition, kind=loss.kind, position=loss.position,
                records=loss.records, cause=loss.cause,
            )  # fmt: skip
        for tp in self._lost.keys() - causes.keys():
            log.info("loss_accepted", topic=tp.topic, partition=tp.partition)
        self._changed = self._changed or causes != self._lost
        for tp in causes.keys() | self._lost.keys():
            self._metrics.tripped_partitions.labels(*tp).set(tp in causes or tp in self._tripped)
        self._lost = causes

    def _record_positions(self, consumer: Consumer) -> None:
        if not self._changed and time.monotonic() < self._published_at_s + PUBLISH_S:
            return
        self._changed = True
        for tp in consumer.assignment():
            try:
                self._positions[tp] = consumer.position(tp)
            except (TransientError, BrokerError):  # not known yet, or revoked
                self._positions.pop(tp, None)

    def _publish(self) -> None:
        """Publish the status of the partitions if it has changed or positions are due."""
        if self._orders is None or not self._changed:
            return
        self._changed, self._published_at_s = False, time.monotonic()
        self._mailbox.set_status(self.seq, {tp: self._status_of(tp) for tp in self.owned - self._with_stale_orders})

    def _status_of(self, tp: TopicPartition) -> PartitionStatus:
        position = self._positions.get(tp)
        if cause := self._cause(tp):
            return PartitionStatus("tripped", position, cause)
        return PartitionStatus("paused" if tp in self.held else "running", position)
