"""Serves the endpoints that pause and resume topics and show orders and partitions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Body, Path, Request, Response
from starlette.exceptions import HTTPException

from shared.broker.contract import TopicPartition
from shared.broker.postgres import losses as losses_table
from shared.database.connection import DbConnection
from shared.ops.holds import Hold
from shared.ops.operations import NotPossible
from shared.ops.orders import DesiredState, ObservedPartition, Order, Orders
from shared.ops.tables import holds as holds_table
from shared.ops.tables import orders as orders_table
from shared.ops.tables import steering as steering_table
from shared.ops.tables.orders import LiveReplicas
from shared.runtime.api.auth import ADMIN_ONLY
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
from shared.runtime.api.topic_bodies import (
    AcceptedLosses,
    HoldBody,
    LossBody,
    OrderBody,
    PartitionBody,
    PauseRequest,
    ReplicaBody,
    ResumeRequest,
    SkipRequest,
    TopicBody,
    TopicList,
    hold_body,
    hold_of_loss,
)

TopicName = Annotated[
    str, Path(max_length=249, description="a topic that GET /v1/topics lists", examples=["raw-events"])
]


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
    _add_skip(context, router)
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

    change: dict[str, Any] = {"response_model": AcceptedLosses, "responses": responses(409), **ADMIN_ONLY}

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


def _add_skip(context: AdminContext, router: APIRouter) -> None:
    @router.put(
        "/{topic}/partitions/{partition}/skip",
        summary="Skip damaged records",
        status_code=HTTPStatus.ACCEPTED,
        response_model=HoldBody,
        responses=responses(404, 409),
        **ADMIN_ONLY,
    )
    def skip_records(
        topic: TopicName,
        partition: Annotated[int, Path(ge=0, le=2**31 - 1, description="a partition of the topic", examples=[0])],
        body: SkipRequest,
        request: Request,
    ) -> Response:
        """Continues a partition that is held because stored records cannot be decoded, after these records. The owner
        of the partition commits the new position and counts the records as skipped; the bytes stay in the log."""
        tp = TopicPartition(_require_topic(context, topic), partition)

        def work(connection: DbConnection) -> ChangeResult:
            hold = _require_damage(holds_table.holds(connection, context.service), tp, body.offset)
            after = replace(hold, continue_at=int(hold.cause["end"]))
            holds_table.continue_at(connection, context.service, tp, hold.kind, int(hold.cause["end"]))
            change = {"continue_at": after.continue_at, "reason": body.reason}
            return ChangeResult(HTTPStatus.ACCEPTED, hold_body(after), before=dict(hold.cause), after=change)

        return apply_change(context, request, "skip", f"{topic}/{partition}/{body.offset}", work)


def _require_damage(holds: Sequence[Hold], tp: TopicPartition, offset: int) -> Hold:
    """Raises NotPossible unless the partition is held for damaged records at this offset."""
    place = f"{tp.topic}/{tp.partition}"
    for hold in holds:
        if hold.tp == tp and hold.kind == "damaged":
            if int(hold.cause["offset"]) <= offset < int(hold.cause["end"]):
                return hold
            raise NotPossible(f"{place} is held for the records at {hold.cause['offset']}, not for those at {offset}")
    raise NotPossible(f"{place} is not held for damaged records, so there is nothing to skip")


def _require_topic(context: AdminContext, topic: str) -> str:
    if topic not in context.pausable_topics:
        raise HTTPException(
            HTTPStatus.NOT_FOUND,
            f"{context.service} has no topic {topic!r}; use one of its topics: {', '.join(context.pausable_topics)}",
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
    holds = {hold.tp: hold for hold in reversed(holds_table.holds(connection, service))}
    holds |= {loss.tp: hold_of_loss(service, loss) for loss in losses_table.open_losses(connection, service)}
    return TopicList(
        topics=[_topic_body(topic, orders.get(topic), live, partitions, holds) for topic in topics],
        replicas=[ReplicaBody(replica=replica, obeys=seq) for replica, seq in sorted(live.obeyed.items())],
    )


def _topic_body(
    topic: str,
    row: orders_table.OrderRow | None,
    live: LiveReplicas,
    partitions: steering_table.Partitions,
    holds: Mapping[TopicPartition, Hold],
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
            _partition_body(tp, claims.get(tp), holds.get(tp))
            for tp in sorted({*partitions.get(topic, ()), *claims, *(each for each in holds if each.topic == topic)})
        ],
    )  # fmt: skip


def _partition_body(tp: TopicPartition, claim: ObservedPartition | None, hold: Hold | None) -> PartitionBody:
    return PartitionBody(
        partition=tp.partition, replica=claim and claim.replica, state=claim and claim.state,
        position=claim and claim.position, cause=claim and claim.cause,
        hold=hold and hold_body(hold),
    )  # fmt: skip
