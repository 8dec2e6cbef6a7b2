"""Defines the bodies of the endpoints of topics: orders, holds and partitions."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from shared.broker.postgres.losses import OpenLoss
from shared.ops.holds import Hold, HoldKind
from shared.ops.orders import DesiredState, PartitionState

Reason = Annotated[str, Field(min_length=1, max_length=1000, pattern=r"\S")]

_TOPIC: dict[str, Any] = {
    "topic": "raw-events", "desired": "paused", "effective": False, "waiting_for": "not obeyed yet by host-1",
    "order": {"seq": 12, "reason": "the source is being moved", "tolerate": 0, "ordered_by": "token:night-shift",
              "ordered_at": "2026-01-31T09:00:00Z"},
    "partitions": [{"partition": 0, "replica": "host-0", "state": "paused", "position": 118, "cause": None,
                    "hold": None}],
}  # fmt: skip


_HOLD: dict[str, Any] = {
    "kind": "damaged", "at": "2026-01-31T09:00:00Z", "continue_at": None,
    "cause": {"message": "raw-events/0 is held back because ...", "offset": 5120, "end": 5140},
}  # fmt: skip


_LOSSES = {
    "removed": "retention removed records that were not read",
    "truncated": "Kafka lost the end of the log",
    "recreated": "the topic was deleted and recreated, or Kafka is a new one",
    "forgotten": "Kafka lost the offset of the service",
}


class PauseRequest(BaseModel):
    """Options of a pause."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"reason": "the source is being moved"}, {}]}
    )

    reason: Reason | None = Field(default=None, description="reason, stored with the order")


class ResumeRequest(PauseRequest):
    """Options of a resume."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"reason": "the rules are mended", "tolerate": 50}, {}]}
    )

    tolerate: int = Field(
        strict=True,
        default=0,
        ge=0,
        le=1_000_000,
        description="failures per partition that become dead letters before the breaker may trip again",
    )


class SkipRequest(BaseModel):
    """Which records to continue without, and why."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"offset": 5120, "reason": "the disk had bad blocks"}]}
    )

    offset: int = Field(strict=True, ge=0, le=2**63 - 1, description="an offset of the records, as `hold.cause` has it")
    reason: Reason


class OrderBody(BaseModel):
    seq: int = Field(description="number of the order; increases with every order")
    reason: str | None
    tolerate: int
    ordered_by: str
    ordered_at: datetime


class HoldBody(BaseModel):
    """Why a partition is held until an operator decides. It outlasts restarts."""

    model_config = ConfigDict(json_schema_extra={"examples": [_HOLD]})

    kind: HoldKind = Field(
        description="breaker: too many records failed; damaged: stored records cannot be decoded; lost: records are"
        " gone. PUT resume ends the first two, and the partition is tried again; PUT accept-loss ends the last"
    )
    cause: dict[str, Any] = Field(description="`message`, and facts that depend on the kind, such as `offset`")
    at: datetime
    continue_at: int | None = Field(description="offset at which an operator has decided to continue")


class LossBody(BaseModel):
    """Records that were gone before the service read them, in one partition."""

    model_config = ConfigDict(from_attributes=True)

    topic: str
    partition: int
    kind: str = Field(
        description="removed (by retention), truncated (the end of the log was lost), recreated (another topic of this"
        " name), forgotten (Kafka lost the offset of the service)"
    )
    position: int = Field(description="offset at which the service stopped")
    continue_at: int = Field(description="offset at which it continues")
    records: int = Field(description="offsets that are lost, an upper bound of the records; 1 if unknown")


class AcceptedLosses(BaseModel):
    """The losses that a request accepted."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"losses": [{"topic": "clean-events", "partition": 3, "kind": "removed", "position": 100,
                             "continue_at": 180, "records": 80}]}
            ]
        }
    )  # fmt: skip

    losses: list[LossBody]


class PartitionBody(BaseModel):
    partition: int
    replica: str | None = Field(description="replica that owns the partition; null if none does")
    state: PartitionState | None = Field(description="what the replica does with it; tripped: it is held, see `hold`")
    position: int | None = Field(description="next offset to handle, as last reported")
    cause: str | None = Field(description="why the partition is tripped")
    hold: HoldBody | None = Field(description="null if the partition is not held")


class TopicBody(BaseModel):
    """The order on a topic and the status of its partitions."""

    model_config = ConfigDict(json_schema_extra={"examples": [_TOPIC]})

    topic: str
    desired: DesiredState
    effective: bool = Field(
        description="every live replica obeys the order, and every partition is owned and in the desired state"
    )
    waiting_for: str | None = Field(description="why the order is not effective yet")
    order: OrderBody | None = Field(description="null if no order was ever given; the topic runs")
    partitions: list[PartitionBody]


class ReplicaBody(BaseModel):
    replica: str
    obeys: int | None = Field(description="newest order that the replica obeys; null if it has read none yet")


class TopicList(BaseModel):
    """All topics that the service can pause, and its live replicas."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"topics": [_TOPIC], "replicas": [{"replica": "host-0", "obeys": 12}]}]}
    )

    topics: list[TopicBody]
    replicas: list[ReplicaBody]


def hold_body(hold: Hold) -> HoldBody:
    return HoldBody(kind=hold.kind, cause=dict(hold.cause), at=hold.at, continue_at=hold.continue_at)


def hold_of_loss(service: str, loss: OpenLoss) -> Hold:
    """The hold of a partition whose records are gone. `cause.kind`: as in LossBody."""
    tp = loss.tp
    message = (
        f"{tp.topic}/{tp.partition} is held back at offset {loss.position}: {_LOSSES[loss.kind]}. `headrace resume"
        f" --accept-loss {service} {tp.topic} {tp.partition}` continues at offset {loss.continue_at}"
    )
    cause = {
        "message": message, "kind": loss.kind, "position": loss.position, "continue_at": loss.continue_at,
        "records": loss.records,
    }  # fmt: skip
    return Hold(tp, "lost", cause, 0, loss.found_at)
