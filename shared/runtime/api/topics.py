"""Serves the endpoints that pause and resume topics and show orders and partitions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Body, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from shared.broker.contract import TopicPartition
from shared.broker.postgres import losses as losses_table
from shared.database.connection import DbConnection
from shared.ops.orders import DesiredState, Order, Orders, PartitionState
from shared.ops.tables import orders as orders_table
from shared.ops.tables import steering as steering_table
from shared.ops.tables.orders import LiveReplicas
from shared.runtime.api.context import AdminContext
from shared.runtime.api.idempotent_change import (
    ACCEPTED,
    ChangeResult,
    OperationBody,
    accepted,
    apply_change,
    caller_of,
)
from shared.runtime.api.problems import responses

TopicName = Annotated[
    str, Path(max_length=249, description="a topic that GET /v1/topics lists", examples=["raw-events"])
]
Reason = Annotated[str, Field(min_length=1, max_length=1000, pattern=r"\S")]

_TOPIC: dict[str, Any] = {
    "topic": "raw-events", "desired": "paused", "effective": False, "waiting_for": "not obeyed yet by host-1",
    "order": {"seq": 12, "reason": "the source is being moved", "tolerate": 0, "ordered_by": "token:night-shift",
              "ordered_at": "2026-01-31T09:00:00Z"},
    "partitions": [{"partition": 0, "replica": "host-0", "state": "paused", "position": 118, "cause": None}],
}  # fmt: skip


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


class OrderBody(BaseModel):
    seq: int = Field(description="number of the order; increases with every order")
    reason: str | None
    tolerate: int
    ordered_by: str
    ordered_at: datetime


class PartitionBody(BaseModel):
    partition: int
    replica: str | None = Field(description="replica that owns the partition; null if none does")
    state: PartitionState | None = Field(description="what the replica does with it; tripped: too many records failed")
    position: int | None = Field(description="next offset to handle, as last reported")
    cause: str | None = Field(description="why the partition is tripped")


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


def router(context: AdminContext) -> APIRouter:
    router = APIRouter(prefix="/topics", tags=["topics"])
    partitions = steering_table.KnownPartitions(context.service, context.pausable_topics, context.table_prefix)

    def load_topics(topics: Sequence[str]) -> TopicList:
        with context.transaction() as connection:
            return _load_topics(connection, context.service, topics, partitions(connection))

    @router.get("", summary="List topics")
    def list_topics() -> TopicList:
        """Returns, for each topic that the service can pause, the order and the status of each partition."""
        return load_topics(context.pausable_topics)

    @router.get("/{topic}", summary="Get a topic", responses=responses(404))
    def get_topic(topic: TopicName) -> TopicBody:
        """Returns the order and the status of each partition."""
        return load_topics([_require_topic(context, topic)]).topics[0]

    _add_orders(context, router)
    _add_losses(context, router)
    return router


def _add_orders(context: AdminContext, router: APIRouter) -> None:
    def give_order(request: Request, topics: Sequence[str], desired: DesiredState, body: PauseRequest) -> Response:
        tolerate = body.tolerate if isinstance(body, ResumeRequest) else 0
        caller = caller_of(request)

        def work(connection: DbConnection) -> ChangeResult:
            before = orders_table.read_orders(connection, context.service)
            operation = steering_table.steer(
                connection, context.service, topics, desired, who=caller.subject, request_id=caller.request_id,
                reason=body.reason, tolerate=tolerate,
            )  # fmt: skip
            after = {"operation": operation.id, "desired": desired, **body.model_dump(exclude_none=True)}
            return accepted(operation, {topic: _desired(before, topic) for topic in topics}, after)

        return apply_change(context, request, "pause" if desired == "paused" else "resume", ", ".join(topics), work)

    change: dict[str, Any] = {"status_code": HTTPStatus.ACCEPTED, "response_model": OperationBody}

    @router.put("/pause", summary="Pause all topics", responses=ACCEPTED, **change)
    def pause_all_topics(request: Request, body: Annotated[PauseRequest | None, Body()] = None) -> Response:
        """Pauses each topic, in one operation."""
        return give_order(request, context.pausable_topics, "paused", body or PauseRequest())

    @router.put("/resume", summary="Resume all topics", responses=ACCEPTED, **change)
    def resume_all_topics(request: Request, body: Annotated[ResumeRequest | None, Body()] = None) -> Response:
        """Resumes each topic, in one operation."""
        return give_order(request, context.pausable_topics, "running", body or ResumeRequest())

    @router.put("/{topic}/pause", summary="Pause a topic", responses=ACCEPTED | responses(404), **change)
    def pause_topic(
        topic: TopicName, request: Request, body: Annotated[PauseRequest | None, Body()] = None
    ) -> Response:
        """Pauses the topic in all replicas, including those that start later, until it is resumed. Open units are
        finished, then the operation succeeds. New records wait. Repeating the request changes nothing."""
        return give_order(request, [_require_topic(context, topic)], "paused", body or PauseRequest())

    @router.put("/{topic}/resume", summary="Resume a topic", responses=ACCEPTED | responses(404), **change)
    def resume_topic(
        topic: TopicName, request: Request, body: Annotated[ResumeRequest | None, Body()] = None
    ) -> Response:
        """Continues where the topic was paused, or where the breaker tripped because too many records failed."""
        return give_order(request, [_require_topic(context, topic)], "running", body or ResumeRequest())


def _add_losses(context: AdminContext, router: APIRouter) -> None:
    def accept(request: Request, tp: TopicPartition | None, body: PauseRequest) -> Response:
        caller = caller_of(request)

        def work(connection: DbConnection) -> ChangeResult:
            losses = losses_table.accept(connection, context.service, tp, caller.subject)
            if not losses:
                where = f"{tp.topic}/{tp.partition}" if tp else f"no partition of the {context.service}"
                raise HTTPException(HTTPStatus.CONFLICT, f"{where} does not wait for the acceptance of a loss")
            accepted_losses = AcceptedLosses(losses=[LossBody.model_validate(each) for each in losses])
            after = {**accepted_losses.model_dump(mode="json"), **body.model_dump(exclude_none=True)}
            return ChangeResult(HTTPStatus.OK, accepted_losses, after=after)

        target = f"{tp.topic}/{tp.partition}" if tp else "all"
        return apply_change(context, request, "accept loss", target, work)

    change: dict[str, Any] = {"response_model": AcceptedLosses, "responses": responses(409)}

    @router.put("/accept-loss", summary="Accept all losses", **change)
    def accept_all_losses(request: Request, body: Annotated[PauseRequest | None, Body()] = None) -> Response:
        """Accepts the losses of all partitions. Each then continues at its `continue_at`, within seconds."""
        return accept(request, None, body or PauseRequest())

    @router.put("/{topic}/partitions/{partition}/accept-loss", summary="Accept a loss", **change)
    def accept_loss(
        topic: TopicName,
        partition: Annotated[int, Path(ge=0, le=2**31 - 1, examples=[3])],
        request: Request,
        body: Annotated[PauseRequest | None, Body()] = None,
    ) -> Response:
        """Accepts the loss of one partition: records that are gone are not handled. The acceptance holds for this loss
        only."""
        return accept(request, TopicPartition(topic, partition), body or PauseRequest())


def _require_topic(context: AdminContext, topic: str) -> str:
    if topic not in context.pausable_topics:
        raise HTTPException(
            HTTPStatus.NOT_FOUND,
            f"{context.service} has no topic {topic!r}; its topics: {', '.join(context.pausable_topics)}",
        )
    return topic


def _desired(orders: Orders, topic: str) -> DesiredState:
    return "paused" if orders.paused(topic) else "running"


def _load_topics(
    connection: DbConnection, service: str, topics: Sequence[str], partitions: steering_table.Partitions
) -> TopicList:
    orders = orders_table.order_rows(
        connection, service, topics
    )  # read first, so that the reported status is not older
    live = orders_table.live_replicas(connection, service)
    return TopicList(
        topics=[_topic_body(topic, orders.get(topic), live, partitions) for topic in topics],
        replicas=[ReplicaBody(replica=replica, obeys=seq) for replica, seq in sorted(live.obeyed.items())],
    )


def _topic_body(
    topic: str, row: orders_table.OrderRow | None, live: LiveReplicas, partitions: steering_table.Partitions
) -> TopicBody:
    order = row.order if row else Order(topic, "running", 0)
    reason = steering_table.pending_reason_of(order, partitions, live)
    claims = {each.tp: each for each in live.observed if each.tp.topic == topic}
    return TopicBody(
        topic=topic, desired=order.desired, effective=reason is None, waiting_for=reason,
        order=row and OrderBody(
            seq=order.seq, reason=row.reason, tolerate=order.tolerate, ordered_by=row.ordered_by,
            ordered_at=row.ordered_at,
        ),
        partitions=[
            PartitionBody(partition=tp.partition, replica=claim.replica, state=claim.state, position=claim.position,
                          cause=claim.cause)
            if (claim := claims.get(tp))
            else PartitionBody(partition=tp.partition, replica=None, state=None, position=None, cause=None)
            for tp in sorted({*partitions.get(topic, ()), *claims})
        ],
    )  # fmt: skip
