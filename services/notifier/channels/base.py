"""The interface of a channel, and the errors for a message that was not sent."""

from __future__ import annotations

from typing import NamedTuple, Protocol
from uuid import UUID

from services.notifier.pacing import RateLimit
from shared.errors import HeadraceError, TransientError

# 4xx statuses worth a retry: request timeout, too early, too many requests.
RETRYABLE_STATUSES = frozenset({408, 425, 429})


class ChannelBusy(TransientError):
    """The channel cannot accept the message now. It is sent again, after `retry_after_s` if the channel gave one.

    After a timeout the message may have been delivered anyway; it is then sent twice rather than never.
    """

    def __init__(self, reason: str, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


class ChannelRefused(HeadraceError):
    """The channel will never accept the message: its URL is no longer valid, or the message is not."""


class Message(NamedTuple):
    """A message to send. `message_id` is the same in every attempt; `text` is in Discord's markdown."""

    message_id: str
    record_id: UUID
    rule: str
    event_key: str
    text: str


class Channel(Protocol):
    """A way to send messages to people. Used by one thread at a time."""

    @property
    def name(self) -> str: ...

    @property
    def rate(self) -> RateLimit: ...

    def send(self, message: Message) -> None:
        """Return when the message is accepted. Raises ChannelBusy or ChannelRefused, without any secret in the text."""
        ...


def error_of_status(channel: str, status: int, retry_after_s: float | None) -> ChannelBusy | ChannelRefused:
    """The error for an HTTP status outside 2xx."""
    reason = f"{channel} answered HTTP {status}"
    if status >= 500 or status in RETRYABLE_STATUSES:
        return ChannelBusy(reason, retry_after_s)
    if status in {401, 403, 404, 410}:
        return ChannelRefused(f"{reason}: its URL is no longer valid or its key is wrong; configure a new URL")
    return ChannelRefused(f"{reason}: it does not accept this message")


def retry_after_of(text: object) -> float | None:
    """A Retry-After value in seconds; None for any other text, e.g. the date that RFC 9110 also allows."""
    try:
        seconds = float(str(text))
    except ValueError:
        return None
    return seconds if 0 <= seconds < float("inf") else None
