"""The interface of a channel, and the errors for a message that was not sent."""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol, runtime_checkable
from uuid import UUID

from services.notifier.pacing import RateLimit
from services.notifier.texts.content import Content
from shared.errors import HeadraceError, TransientError

# 4xx statuses worth a retry: request timeout, too early, too many requests.
RETRYABLE_STATUSES = frozenset({408, 425, 429})
# The address is at fault, not the message. Discord bans senders of many requests with the first three.
CLOSING_STATUSES = frozenset({401, 403, 404, 410})


class ChannelBusy(TransientError):
    """The channel cannot accept the message now. It is sent again, after `retry_after_s` if the channel gave one.

    The message was certainly not delivered, or the receiver ignores a repeated `message_id`.
    """

    def __init__(self, reason: str, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


class ChannelRefused(HeadraceError):
    """The channel will never accept the message."""


class ChannelClosed(ChannelRefused):
    """The channel accepts no message for this address: its URL, login or permission is not valid (any more).

    The message is not at fault. It waits until the address is open again.
    """


class ChannelUncertain(HeadraceError):
    """The message may have been delivered: the connection was lost, or an error came, after the request was sent.

    A channel raises it if its receiver does not ignore repeated messages. The sender asks `Verifying.find`, or applies
    the crash policy.
    """


class Message(NamedTuple):
    """A message to send. `message_id` is the same in every attempt; `text` is in Discord's markdown.

    `destination` is the address without the channel's kind: `channel/1234`, a name, or empty. A digest of several
    notifications has their first lines as `parts`, and `record_id`, `rule` and `event_key` of the first of them.
    After `deadline_s` of the monotonic clock another sender may have the message: a channel that waits must not send it
    any more.
    """

    message_id: str
    record_id: UUID
    rule: str
    event_key: str
    text: str
    destination: str = ""
    content: Content | None = None
    parts: tuple[str, ...] = ()
    deadline_s: float = math.inf


class Receipt(NamedTuple):
    """The channel has the message. The ids are the channel's own: of the message, and of the thread below it."""

    external_id: str | None = None
    thread_id: str | None = None


class Channel(Protocol):
    """A way to send messages to people. Used by one thread at a time.

    `name` is the channel's kind. `rate` limits the messages to each of its destinations.
    """

    @property
    def name(self) -> str: ...

    @property
    def rate(self) -> RateLimit: ...

    def send(self, message: Message) -> Receipt:
        """Return when the message is accepted.

        Raises ChannelBusy, ChannelRefused, ChannelClosed or ChannelUncertain, without any secret in the text.
        """
        ...


@runtime_checkable
class Verifying(Protocol):
    """A channel that can tell whether it has a message.

    `ignores_repeats_s`: for how long after a message the receiver ignores the same one.
    """

    @property
    def ignores_repeats_s(self) -> float: ...

    def find(self, message: Message) -> Receipt | None:
        """The receipt of a message that may have been sent earlier; None if it was certainly not delivered.

        Raises ChannelBusy if it must be asked again later, ChannelRefused if it cannot tell.
        """
        ...


@runtime_checkable
class Editing(Protocol):
    """A channel that can change a message after it was sent."""

    def edit(self, external_id: str, message: Message) -> None:
        """Replace the message. Repeating an edit has no effect. Raises ChannelBusy, or ChannelRefused if it is gone."""
        ...


@runtime_checkable
class SometimesAvailable(Protocol):
    """A channel that only some replicas may use, or only at some times."""

    def available(self) -> bool:
        """False while this replica must not send: its notifications stay pending and no attempt is counted."""
        ...


@runtime_checkable
class Digesting(Protocol):
    """A channel with its own pace, used if the rules give none, and its own length of a digest.

    When a message takes the last token of the pace, everything that waits for the destination goes with it.
    """

    @property
    def pace(self) -> RateLimit | None: ...

    @property
    def max_digest_length(self) -> int:
        """In UTF-16 code units."""
        ...


def error_of_status(channel: str, status: int, retry_after_s: float | None) -> ChannelBusy | ChannelRefused:
    """The error for an HTTP status outside 2xx."""
    reason = f"{channel} answered HTTP {status}"
    if status >= 500 or status in RETRYABLE_STATUSES:
        return ChannelBusy(reason, retry_after_s)
    if status in CLOSING_STATUSES:
        return ChannelClosed(f"{reason}: its URL is no longer valid or its key is wrong; configure a new URL")
    if 300 <= status < 400:
        return ChannelClosed(f"{reason}: redirects are not followed; configure the final URL")
    return ChannelRefused(f"{reason}: it does not accept this message")


def retry_after_of(text: object) -> float | None:
    """A Retry-After value in seconds; None for any other text, e.g. the date that RFC 9110 also allows."""
    try:
        seconds = float(str(text))
    except ValueError:
        return None
    return seconds if 0 <= seconds < float("inf") else None
