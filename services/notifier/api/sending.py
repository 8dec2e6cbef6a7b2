"""The notifier's REST endpoints that hold, discard and release all messages, for example after a restore."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter, Request, Response

from services.notifier.api.notification_bodies import BulkDiscardRequest, HoldRequest, NotificationHold, SendingState
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

    @router.post("/release", summary="Release all notifications", response_model=SendingState)
    def release_notifications(request: Request) -> Response:
        """Sends what waits. Repeating the request changes nothing."""

        def work(connection: DbConnection) -> ChangeResult:
            released = storage.release_sending(connection)
            return _result(connection, {"released": released})

        return apply_change(context, request, "release-notifications", TARGET, work)

    @router.post("/discard", summary="Discard notifications until a time", response_model=SendingState)
    def discard_notifications(body: BulkDiscardRequest, request: Request) -> Response:
        """Messages that wait or are of unknown delivery, and were recorded until a time, expire: they are not sent."""
        until = body.until.isoformat()

        def work(connection: DbConnection) -> ChangeResult:
            reason = f"discarded by {caller_of(request).subject}: {body.reason}"
            discarded = storage.discard_until(connection, body.until, reason)
            return _result(connection, {"until": until, "reason": body.reason, "discarded": discarded}, discarded)

        return apply_change(context, request, "discard-notifications", f"until {until}", work)

    return router


def _result(connection: DbConnection, after: dict[str, object], discarded: int = 0) -> ChangeResult:
    hold = storage.read_hold(connection)
    state = SendingState(
        hold=None if hold is None else NotificationHold.model_validate(hold),
        waiting=storage.count_waiting(connection),
        discarded=discarded,
    )
    return ChangeResult(HTTPStatus.OK, state, after=after | {"waiting": state.waiting})
