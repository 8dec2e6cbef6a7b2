"""The notifier's REST endpoints: list notifications, decide about undelivered ones, send a test message."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Annotated
from uuid import UUID, uuid5

from fastapi import APIRouter, Path, Query, Request, Response
from psycopg.rows import dict_row
from starlette.exceptions import HTTPException

from services.notifier.api import sending
from services.notifier.api.destinations import Destinations
from services.notifier.api.notification_bodies import (
    ClosedChannel,
    Notification,
    NotificationDiscardRequest,
    NotificationHold,
    NotificationPage,
    NotificationState,
    TestMessageRequest,
)
from services.notifier.storage import postgres_ledger as ledger
from services.notifier.storage.postgres_ledger import NewNotification, record_notifications
from services.notifier.storage.postgres_sending_hold import read_closed, read_hold, try_at_once
from shared.database.connection import DbConnection
from shared.events import NAMESPACE
from shared.ops.operations import NotPossible, Operation
from shared.ops.tables import operations as operations_table
from shared.runtime.api.context import AdminContext
from shared.runtime.api.idempotent_change import (
    ACCEPTED,
    ChangeResult,
    OperationBody,
    accepted,
    apply_change,
    caller_of,
)
from shared.runtime.api.paging import Limit, page_of
from shared.runtime.api.problems import responses
from shared.runtime.process.operation_poller import OperationProgress

KIND = "test"
# A test message that waits for a closed address says nothing later.
EXPIRES_S = 3_600.0
InState = Annotated[
    NotificationState | None, Query(description="only notifications in this state", examples=["failed"])
]
OnChannel = Annotated[
    str | None,
    Query(max_length=80, description="only notifications to this kind of channel or address", examples=["discord"]),
]
BeforeId = Annotated[int | None, Query(ge=1, le=2**62, description="`next` of the previous page", examples=[41])]
NotificationId = Annotated[int, Path(ge=1, le=2**62, description="id, as listed", examples=[41])]
READ = """
SELECT id, rule, split_part(channel, '/', 1) AS channel, channel AS address, event_key, text, state, attempts, error,
       created_at, expires_at, sent_at, external_id
FROM notifier.ledger"""
# A message that waits for an address that has refused a message since it was recorded was refused.
_TEST_STATES = """
SELECT channel, CASE WHEN h.refused_at IS NOT NULL AND state = 'pending' THEN 'closed' ELSE state END,
       CASE WHEN h.refused_at IS NOT NULL AND state = 'pending' THEN h.cause ELSE error END
FROM notifier.ledger LEFT JOIN notifier.sending_hold h ON h.address = channel WHERE record_id = %s AND rule = %s"""
FILTERS = """
WHERE coalesce(state = %(state)s, true) AND coalesce(%(channel)s IN (channel, split_part(channel, '/', 1)), true)
  AND coalesce(id < %(before)s, true)
ORDER BY id DESC LIMIT %(limit)s"""


def router(context: AdminContext, destinations: Destinations) -> APIRouter:
    """`destinations`: where this notifier can send test messages."""
    router = APIRouter(tags=["notifier"])

    @router.get("/notifications", summary="List sent and pending notifications")
    def list_notifications(
        state: InState = None, channel: OnChannel = None, before: BeforeId = None, limit: Limit = 100
    ) -> NotificationPage:
        """One entry for each message and address, with its delivery state."""
        filters = {"state": state, "channel": channel, "before": before, "limit": limit + 1}
        with context.transaction() as connection:
            rows = _read(connection, FILTERS, filters)
            hold, closed = read_hold(connection), read_closed(connection)
        page, last = page_of(rows, limit)
        return NotificationPage(
            notifications=list(page),
            next=None if last is None else last.id,
            hold=None if hold is None else NotificationHold.model_validate(hold),
            closed=[ClosedChannel.model_validate(each) for each in closed],
        )

    @router.post(
        "/test", status_code=202, summary="Send a test message", response_model=OperationBody, responses=ACCEPTED
    )
    def send_test_message(body: TestMessageRequest, request: Request) -> Response:
        """To `notifier.channels` and the bot's channel, or to the given addresses, also those of the rule file only.

        The operation ends when each channel has accepted or refused the message. A closed address is tried at once.
        422: nothing can be sent to an address.
        """
        targets = body.channels or destinations.defaults

        def work(connection: DbConnection) -> ChangeResult:
            addresses = list(dict.fromkeys(map(destinations.resolve, targets)))
            caller = caller_of(request)
            operation = operations_table.create(
                connection, context.service, KIND, {"channels": addresses}, caller.subject, caller.request_id
            )
            text = f"Test message from Headrace (operation {operation.id})."
            message = NewNotification(_record_id(operation), KIND, "test", text, expires_s=EXPIRES_S)
            record_notifications(connection, [message], addresses)
            try_at_once(connection, addresses)
            return accepted(operation)

        return apply_change(context, request, KIND, ", ".join(targets), work)

    _add_decisions(context, router)
    router.include_router(sending.router(context))
    return router


def _add_decisions(context: AdminContext, router: APIRouter) -> None:
    changes = responses(404, 409)

    @router.post(
        "/notifications/{notification_id}/retry",
        summary="Send an undelivered notification again",
        response_model=Notification,
        responses=changes,
    )
    def retry_notification(notification_id: NotificationId, request: Request) -> Response:
        """It is sent as a new message, also if it expired. One of unknown delivery may arrive twice.

        A notification that waits already stays as it is. 409: it was sent.
        """

        def retry(connection: DbConnection) -> bool:
            return ledger.retry_notification(connection, notification_id)

        work = _decision(notification_id, retry, {"pending", "sending"})
        return apply_change(context, request, "retry-notification", str(notification_id), work)

    @router.post(
        "/notifications/{notification_id}/discard",
        summary="Discard an undelivered notification",
        response_model=Notification,
        responses=changes,
    )
    def discard_notification(
        notification_id: NotificationId, body: NotificationDiscardRequest, request: Request
    ) -> Response:
        """It expires: it is not sent any more and waits for no decision. 409: it was sent, or will be."""
        reason = f"discarded by {caller_of(request).subject}: {body.reason}"

        def discard(connection: DbConnection) -> bool:
            return ledger.discard_notification(connection, notification_id, reason)

        work = _decision(notification_id, discard, {"expired"})
        return apply_change(context, request, "discard-notification", str(notification_id), work)


def _decision(
    notification_id: int, change: Callable[[DbConnection], bool], unchanged_states: set[str]
) -> Callable[[DbConnection], ChangeResult]:
    """The work of a decision, which changes nothing in `unchanged_states`: it has been made before."""

    def work(connection: DbConnection) -> ChangeResult:
        lock, by_id = "SELECT FROM notifier.ledger WHERE id = %(id)s FOR UPDATE", {"id": notification_id}
        connection.execute(lock, by_id)
        before = next(iter(_read(connection, " WHERE id = %(id)s", by_id)), None)
        if before is None:
            raise HTTPException(
                HTTPStatus.NOT_FOUND, f"there is no notification {notification_id}; GET /v1/notifications lists them"
            )
        if before.state not in unchanged_states and not change(connection):
            raise NotPossible(f"notification {notification_id} is {before.state}: expected failed, unknown or expired")
        (after,) = _read(connection, " WHERE id = %(id)s", by_id)
        return ChangeResult(HTTPStatus.OK, after, before={"state": before.state}, after={"state": after.state})

    return work


def _read(connection: DbConnection, condition: str, values: Mapping[str, object]) -> list[Notification]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return [Notification(**row) for row in cursor.execute(f"{READ}{condition}", values).fetchall()]


def _record_id(operation: Operation) -> UUID:
    return uuid5(NAMESPACE, f"test/{operation.id}")


def delivery_progress(connection: DbConnection, operation: Operation) -> OperationProgress | None:
    """The delivery of a test message on each of its channels."""
    rows = connection.execute(_TEST_STATES, (_record_id(operation), KIND)).fetchall()
    counts = {channel: state for channel, state, _ in rows}
    pending_channels = sorted(channel for channel, state in counts.items() if state in {"pending", "sending"})
    if pending_channels:
        return OperationProgress(
            counts, 1 - len(pending_channels) / len(counts), f"{', '.join(pending_channels)} to accept the message"
        )
    errors = [f"{channel}: {error}" for channel, _, error in rows if error]
    return OperationProgress(
        counts, 1.0, final_state="failed" if errors else "succeeded", error="; ".join(errors) or None
    )
