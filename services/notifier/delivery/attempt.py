"""Asks a channel to send, find or edit a message, and says what that means for the message's rows in the ledger."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Literal, NamedTuple

from services.notifier.addresses import place_of
from services.notifier.channels.base import (
    Channel,
    ChannelBusy,
    ChannelClosed,
    ChannelRefused,
    ChannelUncertain,
    Editing,
    Message,
    Receipt,
    Verifying,
)
from services.notifier.delivery.digest import digest_text, first_line
from services.notifier.storage.postgres_claims import GIVEN_UP, MAX_INTERRUPTIONS, Claims, CrashPolicy

REPEATED = "it is sent again, because the channel ignores a repeated message"
NOT_DELIVERED = "the channel does not have the message; it is sent again"

AttemptOutcome = Literal["sent", "failed", "retried", "unknown", "uncertain", "closed"]
Pause = Callable[[float | None], float]
"""Pauses the address, for the seconds that the channel asked for if it did; returns for how many."""


class Attempt(NamedTuple):
    """The outcome of an attempt, until it is in the ledger.

    `uncertain`: the channel is asked in `retry_s` whether it has the message. `retried`: it is sent again in `retry_s`.
    `closed`: the address accepts no message now, so this one waits until it is open again.
    """

    claims: Claims
    outcome: AttemptOutcome
    error: str = ""
    retry_s: float = 0.0
    receipt: Receipt = Receipt()


def send(channel: Channel, claims: Claims, message: Message, crash_policy: CrashPolicy, pause: Pause) -> Attempt:
    try:
        receipt = channel.send(message)
    except ChannelClosed as error:
        return Attempt(claims, "closed", str(error))
    except ChannelRefused as error:
        return Attempt(claims, "failed", str(error))
    except ChannelBusy as busy:
        return Attempt(claims, "retried", str(busy), pause(busy.retry_after_s))
    except ChannelUncertain as error:
        if isinstance(channel, Verifying):
            return Attempt(claims, "uncertain", str(error), pause(None))
        return _undecided(claims, str(error), crash_policy, pause(None))
    return Attempt(claims, "sent", receipt=receipt)


def verify(channel: Verifying, claims: Claims, message: Message, crash_policy: CrashPolicy, pause: Pause) -> Attempt:
    """Ask the channel for a message that was sent, perhaps. One whose senders keep dying is not sent again."""
    attempt = _verify(channel, claims, message, crash_policy, pause)
    if attempt.outcome == "retried" and claims[0].interruptions >= MAX_INTERRUPTIONS:
        return attempt._replace(outcome="failed", error=GIVEN_UP, retry_s=0.0)
    return attempt


def _verify(channel: Verifying, claims: Claims, message: Message, crash_policy: CrashPolicy, pause: Pause) -> Attempt:
    try:
        receipt = channel.find(message)
    except ChannelBusy as busy:
        return Attempt(claims, "uncertain", str(busy), pause(busy.retry_after_s))
    except ChannelRefused as error:
        # The message was sent after it was recorded, or after an operator requested it again.
        if claims[0].claimed_at - min(each.created_at for each in claims) < timedelta(
            seconds=channel.ignores_repeats_s
        ):
            return Attempt(claims, "retried", f"{REPEATED}: {error}")
        return _undecided(claims, str(error), crash_policy, 0.0)
    if receipt is None:
        return Attempt(claims, "retried", NOT_DELIVERED)
    return Attempt(claims, "sent", receipt=receipt)


def edit(channel: Editing, claims: Claims, message: Message, external_id: str, pause: Pause) -> Attempt:
    """Show the current version of a message that was sent. An edit may be repeated."""
    try:
        channel.edit(external_id, message)
    except ChannelRefused as error:
        return Attempt(claims, "failed", str(error))
    except (ChannelBusy, ChannelUncertain) as error:
        retry_after_s = error.retry_after_s if isinstance(error, ChannelBusy) else None
        return Attempt(claims, "retried", str(error), pause(retry_after_s))
    return Attempt(claims, "sent")


def message_of(claims: Claims, max_digest_length: int) -> Message:
    """The message of these rows. A digest has an id of its own, which is the same in every attempt."""
    first = claims[0]
    message_id = f"digest/{first.group_id}" if first.group_id else f"{first.record_id}/{first.rule}"
    message = Message(
        message_id, first.record_id, first.rule, first.event_key, first.text, place_of(first.address), first.content
    )
    if len(claims) == 1:
        return message
    texts = [each.text for each in claims]
    text = digest_text(texts, max_digest_length)
    return message._replace(text=text, content=None, parts=tuple(first_line(each) for each in texts))


def _undecided(claims: Claims, reason: str, crash_policy: CrashPolicy, retry_s: float) -> Attempt:
    if crash_policy == "park":
        return Attempt(claims, "unknown", reason)
    return Attempt(claims, "retried", reason, retry_s)
