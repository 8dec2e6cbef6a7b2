"""Defines holds: a hold keeps a partition from being handled until an operator decides, in all replicas."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from shared.broker.contract import Damaged, TopicPartition
from shared.ops.orders import Orders

# breaker: too many of its records failed. damaged: stored records cannot be decoded. lost: records are gone.
HoldKind = Literal["breaker", "damaged", "lost"]
# A resume order ends these holds: the partition is tried again. The others need a decision about records.
RESUMABLE: tuple[HoldKind, ...] = ("breaker", "damaged")


@dataclass(frozen=True)
class Hold:
    """Why a partition is held, since when.

    `cause` has a `message` for people and facts that depend on the kind. `seq` is the number of the newest order that
    its loop obeyed then. `continue_at`: an operator has decided that the loop continues at this offset.
    """

    tp: TopicPartition
    kind: HoldKind
    cause: Mapping[str, Any]
    seq: int
    at: datetime
    continue_at: int | None = None

    @property
    def message(self) -> str:
        return str(self.cause["message"])

    def is_in_force(self, orders: Orders) -> bool:
        """False if a newer order has resumed the topic."""
        order = orders.by_topic.get(self.tp.topic)
        is_resumed = order is not None and order.desired == "running" and order.seq > self.seq
        return not (is_resumed and self.kind in RESUMABLE)


def cause_of_damage(service: str, damaged: Damaged) -> dict[str, Any]:
    """The cause of a hold for records that cannot be decoded; `offset` to before `end`."""
    topic, partition = damaged.tp
    message = (
        f"{topic}/{partition} is held back because the stored records from offset {damaged.position} to before"
        f" {damaged.end} cannot be decoded: {damaged.cause}. `headrace resume {service} {topic}` tries again; `headrace"
        f" topics skip {topic} {partition} {damaged.position}` continues after them, without them"
    )
    return {"message": message, "offset": damaged.position, "end": damaged.end}


def holds_in_force(holds: Iterable[Hold], orders: Orders) -> dict[TopicPartition, Hold]:
    """The hold of each held partition; the oldest one if it has several."""
    in_force = sorted((hold for hold in holds if hold.is_in_force(orders)), key=lambda hold: hold.at, reverse=True)
    return {hold.tp: hold for hold in in_force}
