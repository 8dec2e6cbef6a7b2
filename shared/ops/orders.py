"""Pause and resume: what is wanted of a service's topics, what replicas do, and when that is the same."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from shared.broker.contract import TopicPartition

Desired = Literal["running", "paused"]
PartitionState = Literal["running", "paused", "tripped"]


class Order(NamedTuple):
    """What is wanted of one topic of a service. `seq` grows with every order that anybody gives; `tolerate`: failures
    of each partition that do not count for the breaker after it."""

    topic: str
    desired: Desired
    seq: int
    tolerate: int = 0


@dataclass(frozen=True)
class Orders:
    """All orders of one service, as read at one moment. A topic without one runs."""

    by_topic: Mapping[str, Order] = field(default_factory=dict)

    @property
    def seq(self) -> int:
        """The newest; 0 where nobody ever ordered anything."""
        return max((order.seq for order in self.by_topic.values()), default=0)

    def paused(self, topic: str) -> bool:
        order = self.by_topic.get(topic)
        return order is not None and order.desired == "paused"


class Doing(NamedTuple):
    """What a replica does with a partition: where it reads on, and why it holds it back where it tripped."""

    state: PartitionState
    position: int | None = None
    cause: str | None = None


class Observed(NamedTuple):
    """What a replica does with a partition that it owns, having obeyed orders up to `seq`."""

    replica: str
    tp: TopicPartition
    state: PartitionState
    seq: int
    position: int | None = None
    cause: str | None = None


def released(before: Orders | None, after: Orders) -> list[Order]:
    """Orders to run that came in between: what tripped before them is to be tried again.

    A process that has just started holds nothing back; but an order that was given before it started, and is not
    effective yet, may tell it to tolerate failures.
    """
    running = [order for order in after.by_topic.values() if order.desired == "running"]
    if before is None:
        return [order for order in running if order.tolerate > 0]
    return [order for order in running if order.seq > before.seq]


def not_yet(
    order: Order, partitions: Collection[TopicPartition], observed: Iterable[Observed], obeyed: Mapping[str, int | None]
) -> str | None:
    """What an order still waits for, in words; None: it is effective.

    `obeyed`: for every replica that is alive the newest order it obeys, None for one that has read none. All of them
    must have come so far, also those that own nothing of the topic: the next rebalance may give them something.
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
        return f"nobody owns {', '.join(f'{tp.topic}/{tp.partition}' for tp in missing)} yet"
    return None
