"""Defines pause and resume orders, the state that replicas report, and when an order is effective."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from shared.broker.contract import TopicPartition

DesiredState = Literal["running", "paused"]
PartitionState = Literal["running", "paused", "tripped"]


class Order(NamedTuple):
    """The desired state of one topic of a service.

    `seq` increases with every order. `tolerate` is the number of failures per partition that the breaker ignores after
    the order.
    """

    topic: str
    desired: DesiredState
    seq: int
    tolerate: int = 0


@dataclass(frozen=True)
class Orders:
    """All orders of one service, read at one moment. A topic without an order runs."""

    by_topic: Mapping[str, Order] = field(default_factory=dict)

    @property
    def seq(self) -> int:
        """The number of the newest order; 0 if there is none."""
        return max((order.seq for order in self.by_topic.values()), default=0)

    def paused(self, topic: str) -> bool:
        order = self.by_topic.get(topic)
        return order is not None and order.desired == "paused"


class PartitionStatus(NamedTuple):
    """What a replica does with a partition: its state, the next offset, and the cause if the breaker tripped."""

    state: PartitionState
    position: int | None = None
    cause: str | None = None


class ObservedPartition(NamedTuple):
    """The reported status of a partition that a replica owns, after it obeyed all orders up to `seq`."""

    replica: str
    tp: TopicPartition
    state: PartitionState
    seq: int
    position: int | None = None
    cause: str | None = None


def new_resume_orders(before: Orders | None, after: Orders) -> list[Order]:
    """Resume orders that are in `after` and newer than `before`: their tripped partitions are to be retried.

    A process that has just started (`before` is None) has no tripped partitions. It still needs earlier orders that
    are not effective yet and tolerate failures.
    """
    running = [order for order in after.by_topic.values() if order.desired == "running"]
    if before is None:
        return [order for order in running if order.tolerate > 0]
    return [order for order in running if order.seq > before.seq]


def pending_reason(
    order: Order,
    partitions: Collection[TopicPartition],
    observed: Iterable[ObservedPartition],
    obeyed: Mapping[str, int | None],
) -> str | None:
    """Why an order is not effective yet, as text for people; None if it is effective.

    `obeyed` maps every live replica to the newest order it obeys, None if it has read no order. Every live replica must
    obey the order, including those that own no partition of the topic: the next rebalance may assign one to them.
    """
    if not obeyed:
        return "no replica of the service is running"
    behind = sorted(replica for replica, seq in obeyed.items() if seq is None or seq < order.seq)
    if behind:
        return f"not obeyed yet by {', '.join(behind)}"
    claims = [each for each in observed if each.tp.topic == order.topic and each.replica in obeyed]
    wrong = [each for each in claims if (each.state == "paused") != (order.desired == "paused")]
    if wrong:
        return f"{wrong[0].tp.topic}/{wrong[0].tp.partition} is {wrong[0].state} in {wrong[0].replica}"
    missing = sorted(set(partitions) - {each.tp for each in claims})
    if missing:
        return f"no replica owns {', '.join(f'{tp.topic}/{tp.partition}' for tp in missing)} yet"
    return None
