"""Topics that a service works on: what is wanted of it there, what its replicas do, and pausing and resuming them."""

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

TopicName = Annotated[str, Path(max_length=249, description="one that GET /v1/topics lists", examples=["raw-events"])]
Reason = Annotated[str, Field(min_length=1, max_length=1000, pattern=r"\S")]

_TOPIC: dict[str, Any] = {
    "topic": "raw-events", "desired": "paused", "effective": False, "waiting_for": "not obeyed yet by host-1",
    "order": {"seq": 12, "reason": "the source is being moved", "tolerate": 0, "ordered_by": "token:night-shift",
              "ordered_at": "2026-01-31T09:00:00Z"},
    "partitions": [{"partition": 0, "replica": "host-0", "state": "paused", "position": 118, "cause": None}],
}  # fmt: skip


class Wish(BaseModel):
    """Why."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"reason": "the source is being moved"}, {}]}
    )

    reason: Reason | None = Field(default=None, description="kept with the order, for whoever comes next")


class ResumeWish(Wish):
    """Why, and how patient to be."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"reason": "the rules are mended", "tolerate": 50}, {}]}
    )

    tolerate: int = Field(
        strict=True,
        default=0,
        ge=0,
        le=1_000_000,
        description="so many failures of each partition become dead letters before it may be held back again",
    )


class OrderBody(BaseModel):
    seq: int = Field(description="grows with every order that anybody gives")
    reason: str | None
    tolerate: int
    ordered_by: str
    ordered_at: datetime


class PartitionBody(BaseModel):
    partition: int
    replica: str | None = Field(description="whose it is; null: nobody's just now")
    state: PartitionState | None = Field(description="what that replica does with it; tripped: too many records failed")
    position: int | None = Field(description="the next offset that it will handle, as it last said")
    cause: str | None = Field(description="why it is tripped")


class TopicBody(BaseModel):
    """What is wanted on a topic, and what is done."""

    model_config = ConfigDict(json_schema_extra={"examples": [_TOPIC]})

    topic: str
    desired: Desired
    effective: bool = Field(description="every live replica obeys, and every partition has an owner that does")
    waiting_for: str | None = Field(description="what it waits for to be effective")
    order: OrderBody | None = Field(description="null: nobody ever gave one; it runs")
    partitions: list[PartitionBody]


class ReplicaBody(BaseModel):
    replica: str
    obeys: int | None = Field(description="the newest order that all of it obeys; null: it has read none yet")


class Topics(BaseModel):
    """All topics that the service can be paused on, and its live replicas."""

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

    @router.get("", summary="What is wanted on each topic, and what is done")
    def listing() -> Topics:
        """Per topic that the service can be paused on: the order, and what each partition's owner does."""
        return shown(desk.steers)

    @router.get("/{topic}", summary="The same of one topic", responses=responses(404))
    def one(topic: TopicName) -> TopicBody:
        """The order, and what each partition's owner does."""
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

    @router.put("/pause", summary="Stop handling all topics", responses=ACCEPTED, **change)
    def pause_all(request: Request, wish: Annotated[Wish | None, Body()] = None) -> Response:
        """As pausing each of them, in one operation."""
        return give(request, desk.steers, "paused", wish or Wish())

    @router.put("/resume", summary="Go on with all topics", responses=ACCEPTED, **change)
    def resume_all(request: Request, wish: Annotated[ResumeWish | None, Body()] = None) -> Response:
        """As resuming each of them, in one operation."""
        return give(request, desk.steers, "running", wish or ResumeWish())

    @router.put("/{topic}/pause", summary="Stop handling a topic", responses=ACCEPTED | responses(404), **change)
    def pause(topic: TopicName, request: Request, wish: Annotated[Wish | None, Body()] = None) -> Response:
        """In all replicas, also those that start later, until it is resumed. Units that are open are finished; then
        the operation succeeds. What comes meanwhile waits. Saying it again changes nothing."""
        return give(request, [_known(desk, topic)], "paused", wish or Wish())

    @router.put("/{topic}/resume", summary="Go on with a topic", responses=ACCEPTED | responses(404), **change)
    def resume(topic: TopicName, request: Request, wish: Annotated[ResumeWish | None, Body()] = None) -> Response:
        """From where it was paused, or held back because too many records failed."""
        return give(request, [_known(desk, topic)], "running", wish or ResumeWish())


def _known(desk: Desk, topic: str) -> str:
    if topic not in desk.steers:
        raise HTTPException(
            HTTPStatus.NOT_FOUND, f"{desk.service} does not work on {topic!r}; it does on {', '.join(desk.steers)}"
        )
    return topic


def _desired(orders: Orders, topic: str) -> Desired:
    return "paused" if orders.paused(topic) else "running"


def _shown(
    connection: DbConnection, service: str, topics: Sequence[str], partitions: steering_table.Partitions
) -> Topics:
    orders = orders_table.order_rows(connection, service, topics)  # first: what is seen after them is no older
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
