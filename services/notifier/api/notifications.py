"""The notifier's REST endpoints: list notifications, send a test message."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal
from uuid import uuid5

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from services.notifier.storage.postgres_ledger import NewNotification, record_notifications
from shared.database.connection import DbConnection
from shared.errors import ConfigError
from shared.events import NAMESPACE
from shared.ops.operations import Operation
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
from shared.runtime.process.operation_poller import OperationProgress

KIND = "test"
NotificationState = Literal["pending", "sending", "sent", "failed", "unknown"]


NOTIFICATION_EXAMPLE: JsonDict = {
    "id": 41, "rule": "big-payout", "channel": "console", "event_key": "boatrace:2026-01-31:07:04",
    "text": "A message.", "state": "sent", "attempts": 1, "error": None,
    "created_at": "2026-01-31T09:00:00Z", "sent_at": "2026-01-31T09:00:01Z",
}  # fmt: skip
InState = Annotated[
    NotificationState | None, Query(description="only notifications in this state", examples=["failed"])
]
OnChannel = Annotated[
    str | None, Query(max_length=60, description="only notifications on this channel", examples=["discord"])
]
BeforeId = Annotated[int | None, Query(ge=1, le=2**62, description="`next` of the previous page", examples=[41])]


class Notification(BaseModel):
    """A message on one channel, and its delivery state."""

    model_config = ConfigDict(json_schema_extra={"examples": [NOTIFICATION_EXAMPLE]})

    id: int
    rule: str
    channel: str
    event_key: str
    text: str | None = Field(description="null for a summary that is not composed yet")
    state: NotificationState = Field(
        description="unknown: the sender died while sending, so the message may or may not have arrived"
    )
    attempts: int
    error: str | None
    created_at: datetime
    sent_at: datetime | None


class NotificationPage(BaseModel):
    """Newest first. Pass `next` as `before` to get the next page."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"notifications": [NOTIFICATION_EXAMPLE], "next": None}]})

    notifications: list[Notification]
    next: int | None


class TestMessageRequest(BaseModel):
    """The channels to which to send a test message."""

    __test__ = False  # not a test class for pytest

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"channels": ["discord"]}]})

    channels: list[str] | None = Field(
        default=None, min_length=1, max_length=20, description="default: all configured channels"
    )


def router(context: AdminContext, channels: Sequence[str]) -> APIRouter:
    """`channels`: the channels that this notifier sends to."""
    router = APIRouter(tags=["notifier"])

    @router.get("/notifications", summary="List sent and pending notifications")
    def list_notifications(
        state: InState = None, channel: OnChannel = None, before: BeforeId = None, limit: Limit = 100
    ) -> NotificationPage:
        """One entry for each message and channel, with its delivery state."""
        names = tuple(Notification.model_fields)
        with context.transaction() as connection:
            rows = connection.execute(
                f"SELECT {', '.join(names)} FROM notifier.ledger WHERE coalesce(state = %s, true)"
                " AND coalesce(channel = %s, true) AND coalesce(id < %s, true) ORDER BY id DESC LIMIT %s",
                (state, channel, before, limit + 1),
            ).fetchall()
        page, last = page_of([Notification(**dict(zip(names, row, strict=True))) for row in rows], limit)
        return NotificationPage(notifications=list(page), next=None if last is None else last.id)

    @router.post(
        "/test", status_code=202, summary="Send a test message", response_model=OperationBody, responses=ACCEPTED
    )
    def send_test_message(body: TestMessageRequest, request: Request) -> Response:
        """To all channels or the given ones. The operation ends when each has accepted or refused the message."""

        def work(connection: DbConnection) -> ChangeResult:
            target_channels = list(dict.fromkeys(body.channels or channels))
            if unknown := sorted(set(target_channels) - set(channels)):
                raise ConfigError(
                    f"expected channels among {', '.join(channels)} (notifier.channels), got {unknown[0]!r}"
                )
            caller = caller_of(request)
            operation = operations_table.create(
                connection, context.service, KIND, {"channels": target_channels}, caller.subject, caller.request_id
            )
            text = f"Test message from Headrace (operation {operation.id})."
            record_notifications(
                connection,
                [NewNotification(uuid5(NAMESPACE, f"test/{operation.id}"), KIND, "test", text)],
                target_channels,
            )
            return accepted(operation)

        return apply_change(context, request, KIND, ", ".join(body.channels or channels), work)

    return router


def delivery_progress(connection: DbConnection, operation: Operation) -> OperationProgress | None:
    """The delivery of a test message on each of its channels."""
    rows = connection.execute(
        "SELECT channel, state, error FROM notifier.ledger WHERE record_id = %s AND rule = %s",
        (uuid5(NAMESPACE, f"test/{operation.id}"), KIND),
    ).fetchall()
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
