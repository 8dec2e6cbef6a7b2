"""Which partitions a loop does not handle now, and why: an order, the breaker, orders that nobody could read lately."""

from __future__ import annotations

import time
from collections.abc import Mapping

from shared.broker.contract import Consumer, TopicPartition
from shared.errors import BrokerError, TransientError
from shared.ops.orders import Doing, Orders, released
from shared.runtime.control.mailbox import Steering
from shared.runtime.dead_letters.breaker import Breaker, Tripped
from shared.runtime.metrics import Metrics

# Where the loop is, is told so often; what it does, at once.
TELL_EVERY_S = 0.5
# How long a poll waits for records, and before anybody knows what is wanted: it is known soon.
POLL_S = 0.5
UNTOLD_S = 0.1


class Holding:
    """For the loop's thread, between two units."""

    def __init__(self, reads: tuple[str, ...], steering: Steering, breaker: Breaker, metrics: Metrics) -> None:
        self._reads = reads
        self._steering = steering
        self._breaker = breaker
        self._metrics = metrics
        self._orders: Orders | None = None
        self._owned: frozenset[TopicPartition] = frozenset()
        # Partitions that came while the orders were too old to begin on: what was ordered since may be the opposite.
        self._unsure: frozenset[TopicPartition] = frozenset()
        self._tripped: dict[TopicPartition, str] = {}
        # By topic, what orders tolerate that are not effective yet: also in partitions that come until they are.
        self._tolerate: dict[str, int] = {}
        # What the consumer was told to pause. All of it is resumed some time, also what went and may come back.
        self._paused: set[TopicPartition] = set()
        self._positions: dict[TopicPartition, int] = {}
        self._told_at_s = 0.0
        self._news = True

    @property
    def seq(self) -> int:
        """The newest order that is obeyed."""
        return 0 if self._orders is None else self._orders.seq

    def patience_s(self) -> float:
        """How long the next poll may wait: not at all where something is to be told after it."""
        if self._orders is None:
            return UNTOLD_S
        return 0.0 if self._news else POLL_S

    def state(self) -> tuple[str, str]:
        """The loop's state, and why it is not ready where it is not."""
        if self._orders is None:
            return "waiting for orders", "the database has not told yet what is wanted of this service"
        if self._unsure:
            return "waiting for orders", "partitions came while the database could not be asked what is wanted of them"
        causes = [cause for tp, cause in sorted(self._tripped.items()) if self._doing(tp).state == "tripped"]
        if causes:
            return "tripped", "; ".join(causes)
        return "paused" if all(map(self._orders.paused, self._reads)) else "running", ""

    def look(self) -> None:
        """The newest orders hold from here on. A resume lets go of what the breaker holds back."""
        orders = self._steering.orders()
        if self._unsure and self._steering.is_fresh():
            self._unsure, self._news = frozenset(), True
        if orders is None or orders == self._orders:
            return
        for order in released(self._orders, orders):
            for tp in {each for each in self._owned | self._tripped.keys() if each.topic == order.topic}:
                self._breaker.release(tp, order.tolerate)
                self._metrics.tripped_partitions.labels(*tp).set(0)
                self._tripped.pop(tp, None)
        self._tolerate = {topic: order.tolerate for topic, order in orders.by_topic.items() if order.tolerate > 0}
        self._orders, self._news = orders, True
        for topic in self._reads:
            self._metrics.paused.labels(topic).set(orders.paused(topic))

    def own(self, owned: frozenset[TopicPartition]) -> bool:
        """These are ours now; whether that is anything new."""
        if owned == self._owned:
            return False
        for tp in owned - self._owned:
            if tp.topic in self._tolerate:
                self._breaker.release(tp, self._tolerate[tp.topic])
        came = frozenset() if self._steering.is_fresh() else owned - self._owned
        self._unsure = (self._unsure & owned) | came
        self._owned, self._news = owned, True
        return True

    def doubt(self) -> None:
        """A unit was fenced: what is ours may have been somebody else's in between."""
        if not self._steering.is_fresh():
            self._unsure, self._news = self._owned, True

    def trip(self, tripped: Tripped) -> None:
        self._tripped[tripped.tp] = str(tripped)
        self._metrics.tripped_partitions.labels(*tripped.tp).set(1)
        self._news = True

    def apply(self, consumer: Consumer) -> frozenset[TopicPartition]:
        """Have the consumer pause what is held back and resume the rest; what is held back."""
        held = frozenset(tp for tp in consumer.assignment() if self._is_held(tp))
        if held != self._paused:
            consumer.resume(sorted(self._paused - held))
            consumer.pause(sorted(held - self._paused))
            self._paused = set(held)
        return held

    def rest(self, consumer: Consumer) -> None:
        """Have the consumer pause everything, until `apply`."""
        owned = consumer.assignment()
        consumer.pause(sorted(owned))
        self._paused |= owned

    def locate(self, consumer: Consumer) -> None:
        """Note where we are, now and then. To be called while nothing that was polled is uncommitted."""
        if not self._news and time.monotonic() < self._told_at_s + TELL_EVERY_S:
            return
        self._news = True
        for tp in consumer.assignment():
            try:
                self._positions[tp] = consumer.position(tp)
            except (TransientError, BrokerError):  # not known yet, or ours no more
                self._positions.pop(tp, None)

    def tell(self) -> None:
        """Say what is done now, if that was not said yet. To be called with nothing under way that is held back."""
        if self._orders is None or not self._news:
            return
        self._news, self._told_at_s = False, time.monotonic()
        self._steering.obey(self._orders.seq, self._doings())

    def _doings(self) -> Mapping[TopicPartition, Doing]:
        return {tp: self._doing(tp) for tp in self._owned - self._unsure}

    def _doing(self, tp: TopicPartition) -> Doing:
        position = self._positions.get(tp)
        if self._orders is not None and self._orders.paused(tp.topic):
            return Doing("paused", position)
        if cause := self._tripped.get(tp):
            return Doing("tripped" if tp in self._owned else "running", position, cause)
        return Doing("running", position)

    def _is_held(self, tp: TopicPartition) -> bool:
        return self._orders is None or tp in self._unsure or tp in self._tripped or self._orders.paused(tp.topic)
