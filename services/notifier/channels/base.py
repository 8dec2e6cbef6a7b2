"""What a channel is, and how it says that a message did not go out."""

from __future__ import annotations

from typing import NamedTuple, Protocol
from uuid import UUID

from services.notifier.pacing import Rate
from shared.errors import HeadraceError, TransientError

# Of the refusals (4xx) these may pass: request timeout, too early, too many requests.
PASSING = frozenset({408, 425, 429})


class ChannelBusy(TransientError):
    """The channel cannot take the message now; it is tried again, not before `retry_after_s` where that is known.

    After a time-out the message may have gone out all the same: then it is told twice rather than never.
    """

    def __init__(self, reason: str, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


class ChannelRefused(HeadraceError):
    """The channel will never take the message: its address is gone, or the message is wrong."""


class Message(NamedTuple):
    """What a channel sends. `message_id` is the same in every attempt; `text` is Discord's markdown."""

    message_id: str
    record_id: UUID
    rule: str
    event_key: str
    text: str


class Channel(Protocol):
    """One way to tell people. Used by one thread at a time."""

    @property
    def name(self) -> str: ...

    @property
    def rate(self) -> Rate: ...

    def send(self, message: Message) -> None:
        """Return once the message was taken. Raises ChannelBusy or ChannelRefused, without any secret in the text."""
        ...


def refusal(channel: str, status: int, retry_after_s: float | None) -> ChannelBusy | ChannelRefused:
    """The error behind an HTTP status that is no success."""
    reason = f"{channel} answered HTTP {status}"
    if status >= 500 or status in PASSING:
        return ChannelBusy(reason, retry_after_s)
    if status in {401, 403, 404, 410}:
        return ChannelRefused(f"{reason}: its address is gone or its key is wrong; give the channel a new one")
    return ChannelRefused(f"{reason}: it will not take this message")


def seconds_of(text: object) -> float | None:
    """A Retry-After value in seconds (RFC 9110's other form, a date, is None: the sender's own back-off serves)."""
    try:
        seconds = float(str(text))
    except ValueError:
        return None
    return seconds if 0 <= seconds < float("inf") else None
