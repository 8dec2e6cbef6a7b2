"""The bodies of the notifier's REST endpoints about notifications."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

NotificationState = Literal["pending", "sending", "sent", "failed", "unknown", "expired"]


NOTIFICATION_EXAMPLE: JsonDict = {
    "id": 41, "rule": "big-payout", "channel": "slack", "address": "slack/races",
    "event_key": "boatrace:2026-01-31:07:04", "text": "A message.", "state": "sent", "attempts": 1, "error": None,
    "created_at": "2026-01-31T09:00:00Z", "expires_at": None, "sent_at": "2026-01-31T09:00:01Z", "external_id": None,
}  # fmt: skip


class Notification(BaseModel):
    """A message to one address, and its delivery state."""

    model_config = ConfigDict(json_schema_extra={"examples": [NOTIFICATION_EXAMPLE]})

    id: int
    rule: str
    channel: str = Field(description="kind of the channel: console, discord, email, slack, webhook ...")
    address: str = Field(description="where it is sent: the channel's kind, or KIND/DESTINATION")
    event_key: str
    text: str | None = Field(description="null for a summary that is not composed yet")
    state: NotificationState = Field(
        description="unknown: the message may or may not have arrived, and is not sent again by itself;"
        " expired: it is not sent any more, `error` says why"
    )
    attempts: int
    error: str | None
    created_at: datetime = Field(description="when it was recorded, or an operator last sent it again")
    expires_at: datetime | None = Field(description="when it expires if it has not been sent")
    sent_at: datetime | None
    external_id: str | None = Field(description="the message's id in the channel, if the channel has ids")


HOLD_EXAMPLE: JsonDict = {"since": "2026-01-31T09:00:00Z", "cause": "restored from a backup of 2026-01-30 03:00 UTC"}


class NotificationHold(BaseModel):
    """No message is sent until an operator releases them."""

    model_config = ConfigDict(from_attributes=True, json_schema_extra={"examples": [HOLD_EXAMPLE]})

    since: datetime
    cause: str = Field(description="why messages may have been sent already")


CLOSED_EXAMPLE: JsonDict = {
    "address": "slack/races", "since": "2026-01-31T09:00:00Z", "tried_at": "2026-01-31T10:00:00Z", "waiting": 3,
    "cause": "slack answered HTTP 404: its URL is no longer valid or its key is wrong; configure a new URL",
}  # fmt: skip


class ClosedChannel(BaseModel):
    """An address that accepts no message. What waits for it is sent when an operator opens it or a trial succeeds."""

    model_config = ConfigDict(from_attributes=True, json_schema_extra={"examples": [CLOSED_EXAMPLE]})

    address: str
    since: datetime
    cause: str = Field(description="what the channel answered, and what to do")
    tried_at: datetime | None = Field(description="when a message was last sent there; null: it is tried at once")
    waiting: int = Field(description="messages that wait for it")


class NotificationPage(BaseModel):
    """Newest first. Pass `next` as `before` to get the next page."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"notifications": [NOTIFICATION_EXAMPLE], "next": None, "hold": None, "closed": []}]
        }
    )

    notifications: list[Notification]
    next: int | None
    hold: NotificationHold | None = Field(description="why no message is sent now; null if messages are sent")
    closed: list[ClosedChannel] = Field(description="addresses to which nothing is sent, whatever is selected")


class SendingState(BaseModel):
    """Whether messages are sent, and how many wait."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"hold": HOLD_EXAMPLE, "closed": [], "waiting": 12, "discarded": 0}]}
    )

    hold: NotificationHold | None = Field(description="why no message is sent now; null if messages are sent")
    closed: list[ClosedChannel] = Field(description="addresses to which nothing is sent")
    waiting: int = Field(description="messages that wait to be sent")
    discarded: int = Field(default=0, description="messages that this request discarded")


class HoldRequest(BaseModel):
    """Why messages must not be sent now."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"reason": "a standby was promoted"}]})

    reason: str = Field(min_length=1, max_length=500, description="shown as the cause, and kept in the audit trail")


class ReleaseRequest(BaseModel):
    """What to send again."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"channel": "slack/races"}]})

    channel: str | None = Field(
        default=None,
        min_length=1,
        max_length=80,
        description="a closed address, or a kind of channel with all of its addresses; default: what is held on all",
    )


class BulkDiscardRequest(BaseModel):
    """Which messages need not be sent, and why."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"until": "2026-01-31T09:00:00Z", "reason": "they arrived"}]}
    )

    until: AwareDatetime = Field(description="messages that were recorded until this time (`created_at`)")
    channel: str = Field(default="", max_length=80, description="only those to this kind of channel or address")
    reason: str = Field(min_length=1, max_length=500, description="kept with the messages and in the audit trail")


class NotificationDiscardRequest(BaseModel):
    """Why a notification need not be sent."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"reason": "it arrived"}]})

    reason: str = Field(min_length=1, max_length=500, description="kept with the notification and in the audit trail")


class TestMessageRequest(BaseModel):
    """The channels to which to send a test message."""

    __test__ = False  # not a test class for pytest

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"channels": ["discord-bot"]}]})

    channels: list[str] | None = Field(
        default=None,
        min_length=1,
        max_length=20,
        description="addresses, such as console, email/night-shift, or discord-bot for the bot's channel;"
        " default: all of notifier.channels, and the bot's channel",
    )
