"""The notifier's REST endpoints that hold, discard and release all messages, and open closed addresses."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter, Request, Response

from services.notifier.api.notification_bodies import (
    BulkDiscardRequest,
    ClosedChannel,
    HoldRequest,
    NotificationHold,
    ReleaseRequest,
    SendingState,
)
from services.notifier.storage import postgres_sending_hold as storage
from shared.database.connection import DbConnection
from shared.runtime.api.context import AdminContext
from shared.runtime.api.idempotent_change import ChangeResult, apply_change, caller_of

TARGET = "all"


def router(context: AdminContext) -> APIRouter:
    router = APIRouter(prefix="/notifications")

    @router.post("/hold", summary="Hold all notifications", response_model=SendingState)
    def hold_notifications(body: HoldRequest, request: Request) -> Response:
        """No message is sent until they are released. They are still recorded. An earlier hold keeps its cause."""

        def work(connection: DbConnection) -> ChangeResult:
            storage.hold_sending(connection, f"held by {caller_of(request).subject}: {body.reason}")
            return _result(connection, {"reason": body.reason})

        return apply_change(context, request, "hold-notifications", TARGET, work)

    @router.post("/release", summary="Release all notifications, or open a channel", response_model=SendingState)
    def release_notifications(request: Request, body: ReleaseRequest | None = None) -> Response:
        """Sends what waits. With `channel`, opens its closed addresses. Repeating the request changes nothing."""
        channel = None if body is None else body.channel

        def work(connection: DbConnection) -> ChangeResult:
            if channel is not None:
                return _result(connection, {"opened": storage.open_addresses(connection, channel)})
            return _result(connection, {"released": storage.release_sending(connection)})

        return apply_change(context, request, "release-notifications", channel or TARGET, work)

    @router.post("/discard", summary="Discard notifications until a time", response_model=SendingState)
    def discard_notifications(body: BulkDiscardRequest, request: Request) -> Response:
        """Messages that wait or are of unknown delivery, and were recorded until a time, expire: they are not sent."""
        until = body.until.isoformat()
        target = f"{body.channel} until {until}".strip()

        def work(connection: DbConnection) -> ChangeResult:
            reason = f"discarded by {caller_of(request).subject}: {body.reason}"
            discarded = storage.discard_until(connection, body.until, reason, body.channel)
            return _result(connection, {"until": until, "reason": body.reason, "discarded": discarded}, discarded)

        return apply_change(context, request, "discard-notifications", target, work)

    return router


def _result(connection: DbConnection, after: dict[str, object], discarded: int = 0) -> ChangeResult:
    hold = storage.read_hold(connection)
    state = SendingState(
        hold=None if hold is None else NotificationHold.model_validate(hold),
        closed=[ClosedChannel.model_validate(each) for each in storage.read_closed(connection)],
        waiting=storage.count_waiting(connection),
        discarded=discarded,
    )
    return ChangeResult(HTTPStatus.OK, state, after=after | {"waiting": state.waiting})
