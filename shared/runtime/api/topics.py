"""Serves the endpoints that pause and resume topics and show orders and partitions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Body, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from shared.database.connection import DbConnection
from shared.ops.orders import Desired, Order, Orders, PartitionState
from shared.ops.tables import orders as orders_table
from shared.ops.tables import steering as steering_table
from shared.ops.tables.orders import Live
from shared.runtime.api.context import Desk
from shared.runtime.api.idempotent_change import ACCEPTED, Answer, OperationBody, accepted, caller_of, carry_out
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


class Wish(BaseModel):
    """Options of a pause."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"reason": "the source is being moved"}, {}]}
    )

    reason: Reason | None = Field(default=None, description="reason, stored with the order")


class ResumeWish(Wish):
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
    desired: Desired
    effective: bool = Field(
        description="every live replica obeys the order, and every partition is owned and in the desired state"
    )
    waiting_for: str | None = Field(description="why the order is not effective yet")
    order: OrderBody | None = Field(description="null if no order was ever given; the topic runs")
    partitions: list[PartitionBody]


class ReplicaBody(BaseModel):
    replica: str
    obeys: int | None = Field(description="newest order that the replica obeys; null if it has read none yet")


class Topics(BaseModel):
    """All topics that the service can pause, and its live replicas."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"topics": [_TOPIC], "replicas": [{"replica": "host-0", "obeys": 12}]}]}
    )

    topics: list[TopicBody]
    replicas: list[ReplicaBody]


def router(desk: Desk) -> APIRouter:
    router = APIRouter(prefix="/topics", tags=["topics"])
    partitions = steering_table.KnownPartitions(desk.service, desk.steers, desk.table_prefix)

    def shown(topics: Sequence[str]) -> Topics:
        with desk.transaction() as connection:
            return _shown(connection, desk.service, topics, partitions(connection))

    @router.get("", summary="List topics")
    def listing() -> Topics:
        """Returns, for each topic that the service can pause, the order and the status of each partition."""
        return shown(desk.steers)

    @router.get("/{topic}", summary="Get a topic", responses=responses(404))
    def one(topic: TopicName) -> TopicBody:
        """Returns the order and the status of each partition."""
        return shown([_known(desk, topic)]).topics[0]

    _orders(desk, router)
    return router


def _orders(desk: Desk, router: APIRouter) -> None:
    def give(request: Request, topics: Sequence[str], desired: Desired, wish: Wish) -> Response:
        tolerate = wish.tolerate if isinstance(wish, ResumeWish) else 0
        caller = caller_of(request)

        def work(connection: DbConnection) -> Answer:
            before = orders_table.read_orders(connection, desk.service)
            operation = steering_table.steer(
                connection, desk.service, topics, desired, who=caller.subject, request_id=caller.request_id,
                reason=wish.reason, tolerate=tolerate,
            )  # fmt: skip
            after = {"operation": operation.id, "desired": desired, **wish.model_dump(exclude_none=True)}
            return accepted(operation, {topic: _desired(before, topic) for topic in topics}, after)

        return carry_out(desk, request, "pause" if desired == "paused" else "resume", ", ".join(topics), work)

    change: dict[str, Any] = {"status_code": HTTPStatus.ACCEPTED, "response_model": OperationBody}

    @router.put("/pause", summary="Pause all topics", responses=ACCEPTED, **change)
    def pause_all(request: Request, wish: Annotated[Wish | None, Body()] = None) -> Response:
        """Pauses each topic, in one operation."""
        return give(request, desk.steers, "paused", wish or Wish())

    @router.put("/resume", summary="Resume all topics", responses=ACCEPTED, **change)
    def resume_all(request: Request, wish: Annotated[ResumeWish | None, Body()] = None) -> Response:
        """Resumes each topic, in one operation."""
        return give(request, desk.steers, "running", wish or ResumeWish())

    @router.put("/{topic}/pause", summary="Pause a topic", responses=ACCEPTED | responses(404), **change)
    def pause(topic: TopicName, request: Request, wish: Annotated[Wish | None, Body()] = None) -> Response:
        """Pauses the topic in all replicas, including those that start later, until it is resumed. Open units are
        finished, then the operation succeeds. New records wait. Repeating the request changes nothing."""
        return give(request, [_known(desk, topic)], "paused", wish or Wish())

    @router.put("/{topic}/resume", summary="Resume a topic", responses=ACCEPTED | responses(404), **change)
    def resume(topic: TopicName, request: Request, wish: Annotated[ResumeWish | None, Body()] = None) -> Response:
        """Continues where the topic was paused, or where the breaker tripped because too many records failed."""
        return give(request, [_known(desk, topic)], "running", wish or ResumeWish())


def _known(desk: Desk, topic: str) -> str:
    if topic not in desk.steers:
        raise HTTPException(
            HTTPStatus.NOT_FOUND, f"{desk.service} has no topic {topic!r}; its topics: {', '.join(desk.steers)}"
        )
    return topic


def _desired(orders: Orders, topic: str) -> Desired:
    return "paused" if orders.paused(topic) else "running"


def _shown(
    connection: DbConnection, service: str, topics: Sequence[str], partitions: steering_table.Partitions
) -> Topics:
    orders = orders_table.order_rows(
        connection, service, topics
    )  # read first, so that the reported status is not older
    live = orders_table.live(connection, service)
    return Topics(
        topics=[_topic(topic, orders.get(topic), live, partitions) for topic in topics],
        replicas=[ReplicaBody(replica=replica, obeys=seq) for replica, seq in sorted(live.obeyed.items())],
    )


def _topic(
    topic: str, row: orders_table.OrderRow | None, live: Live, partitions: steering_table.Partitions
) -> TopicBody:
    order = row.order if row else Order(topic, "running", 0)
    waits = steering_table.waits_for(order, partitions, live)
    claims = {each.tp: each for each in live.observed if each.tp.topic == topic}
    return TopicBody(
        topic=topic, desired=order.desired, effective=waits is None, waiting_for=waits,
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
