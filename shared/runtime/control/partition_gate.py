"""Decides which partitions a loop must not handle: because of an order, a hold, or missing or stale orders."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

import structlog

from shared.broker.contract import Consumer, Loss, PollResult, TopicPartition
from shared.errors import BrokerError, TransientError
from shared.ops.holds import Hold, HoldKind, holds_in_force
from shared.ops.orders import Orders, PartitionStatus, new_resume_orders
from shared.runtime.control.mailbox import ControlMailbox
from shared.runtime.dead_letters.breaker import Breaker
from shared.runtime.metrics import Metrics

# Positions are published at most this often; a changed state immediately.
PUBLISH_S = 0.5
# The timeout of a poll, and the shorter one until the first orders are known.
POLL_S = 0.5
NO_ORDERS_POLL_S = 0.1

log = structlog.get_logger(__name__)

HoldReason = Literal["no orders", "old orders", "paused", "tripped", "busy"]


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
        self._holds: Mapping[TopicPartition, Hold] = {}
        # What the consumer reports as lost. It returns no records of these partitions until the loss is accepted.
        self._losses: Mapping[TopicPartition, Loss] = {}
        self._lost: Mapping[TopicPartition, Hold] = {}
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

    def hold(self, tp: TopicPartition, kind: HoldKind, cause: Mapping[str, Any]) -> None:
        """Hold a partition until an operator decides, also after a restart; its batch is polled again without it.
        `cause` has a `message` for people."""
        self._mailbox.begin_hold(Hold(tp, kind, cause, self.seq, datetime.now(UTC)))
        log.error("partition_tripped", topic=tp.topic, partition=tp.partition, kind=kind, cause=cause["message"])
        self._read_holds(self._orders or Orders())

    def decided_holds(self) -> list[Hold]:
        """The holds of owned partitions for which an operator has decided where to continue."""
        owned = self.owned - self._with_stale_orders
        return [hold for tp, hold in sorted(self._holds.items()) if hold.continue_at is not None and tp in owned]

    def end_hold(self, hold: Hold) -> None:
        self._mailbox.end_hold(hold.tp, hold.kind)
        self._read_holds(self._orders or Orders())

    def state(self) -> tuple[str, str]:
        """The loop's state after a poll, and the reason if it is not ready."""
        if self._orders is None:
            return "waiting for orders", "the orders have not been read from the database yet"
        if self._with_stale_orders:
            return "waiting for orders", "partitions were assigned while the orders could not be read from the database"
        if causes := [self._holds[tp].message for tp, reason in sorted(self.held.items()) if reason == "tripped"]:
            return "tripped", "; ".join(causes)
        return "paused" if all(map(self._orders.paused, self._reads)) else "running", ""

    def _refresh(self) -> None:
        """Apply the latest orders and holds. A resume order also ends holds."""
        orders = self._mailbox.orders()
        if orders is not None:
            self._read_holds(orders)
        if self._with_stale_orders and self._mailbox.is_fresh():
            self._with_stale_orders, self._changed = frozenset(), True
        if orders is None or orders == self._orders:
            return
        for order in new_resume_orders(self._orders, orders):
            for tp in {each for each in self.owned if each.topic == order.topic}:
                self._breaker.release(tp, order.tolerate)
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
        return "tripped" if tp in self._holds else None

    def _read_holds(self, orders: Orders) -> None:
        holds = {**holds_in_force(self._mailbox.holds(), orders), **self._lost}
        if holds == self._holds:
            return
        for tp, hold in self._holds.items():
            self._metrics.tripped_partitions.labels(*tp, hold.kind).set(0)
        for tp, hold in holds.items():
            self._metrics.tripped_partitions.labels(*tp, hold.kind).set(1)
        self._holds, self._changed = holds, True

    def _record_losses(self, consumer: Consumer) -> None:
        """Hold what the consumer reports as lost; release what was accepted since the last poll."""
        losses = consumer.losses()
        for tp, loss in losses.items():
            if loss != self._losses.get(tp):
                self._metrics.records_lost_total.labels(self._service, *tp).inc(loss.uncounted)
        lost = {tp: self._lost_hold(tp, loss) for tp, loss in losses.items()}
        for tp in self._lost.keys() - lost.keys():
            log.info("loss_accepted", topic=tp.topic, partition=tp.partition)
        self._losses, self._lost = losses, lost
        self._read_holds(self._orders or Orders())

    def _lost_hold(self, tp: TopicPartition, loss: Loss) -> Hold:
        before = self._lost.get(tp)
        if before is not None and before.message == loss.cause:
            return before
        log.error(
            "records_lost", topic=tp.topic, partition=tp.partition, kind=loss.kind, position=loss.position,
            records=loss.records, cause=loss.cause,
        )  # fmt: skip
        return Hold(tp, "lost", {"message": loss.cause}, self.seq, datetime.now(UTC))

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
        if self.held.get(tp) == "tripped":
            return PartitionStatus("tripped", position, self._holds[tp].message)
        return PartitionStatus("paused" if tp in self.held else "running", position)
