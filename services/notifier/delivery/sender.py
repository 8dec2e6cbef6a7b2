"""Sends the notifications in the ledger, with one thread and one database connection per channel.

A slow channel therefore does not delay the others. A notification is claimed in one transaction and marked as sent in
another; storage/postgres_claims.py describes what happens if the sender dies in between.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Literal, NamedTuple

import psycopg
import structlog

from services.notifier.channels.base import Channel, ChannelBusy, ChannelRefused, Message
from services.notifier.pacing import DeliveryPolicy, TokenBucket
from services.notifier.storage import postgres_claims as ledger
from shared.database.connection import DbConnection

SendOutcome = Literal["sent", "failed", "retried", "unknown"]
OnSendOutcome = Callable[[str, SendOutcome], None]
Connect = Callable[[], DbConnection]

log = structlog.get_logger("notifier.sender")


class Sender:
    """`connect` returns a new connection at each call; `on_outcome(channel, outcome)` is called from the threads."""

    def __init__(
        self, connect: Connect, channels: Sequence[Channel], delivery_policy: DeliveryPolicy, on_outcome: OnSendOutcome
    ) -> None:
        self._loops = [ChannelLoop(connect, channel, delivery_policy, on_outcome) for channel in channels]

    def run(self, stop: threading.Event) -> None:
        """Send until `stop` is set. An unexpected error in one channel sets `stop`, ends all channels and is raised."""
        if not self._loops:
            stop.wait()
            return
        with ThreadPoolExecutor(len(self._loops), thread_name_prefix="sender") as threads:
            runs = [threads.submit(loop.run, stop) for loop in self._loops]
            for ended in as_completed(runs):
                if ended.exception() is not None:
                    stop.set()
        for run in runs:
            run.result()


class _SendResult(NamedTuple):
    """The outcome of a send, until it is in the ledger. An error without `retry_s` is final."""

    claim: ledger.Claim
    error: str | None = None
    retry_s: float | None = None

    @property
    def outcome(self) -> SendOutcome:
        if self.error is None:
            return "sent"
        return "failed" if self.retry_s is None else "retried"


class ChannelLoop:
    """Claims, sends and marks the notifications of one channel."""

    def __init__(
        self, connect: Connect, channel: Channel, delivery_policy: DeliveryPolicy, on_outcome: OnSendOutcome
    ) -> None:
        self._connect = connect
        self._channel = channel
        self._delivery_policy = delivery_policy
        self._on_outcome = on_outcome
        self._bucket = TokenBucket(channel.rate, time.monotonic())
        self._result: _SendResult | None = None
        self._failures = 0
        self._paused_until_s = 0.0
        self._expire_at_s = 0.0

    def run(self, stop: threading.Event) -> None:
        """Send until `stop` is set. Reconnects to a lost database and then marks what was sent before."""
        losses = 0
        while not stop.is_set():
            try:
                with self._connect() as connection:
                    connection.autocommit = True
                    while not stop.is_set():
                        stop.wait(self.step(connection))
                        losses = 0
                    self._mark(connection)
            except psycopg.OperationalError as error:
                losses += 1
                log.warning("sender_database_lost", channel=self._channel.name, error=type(error).__name__)
                stop.wait(self._delivery_policy.backoff_s(losses))

    def step(self, connection: DbConnection) -> float:
        """Mark the last send, expire claims, send at most one message; returns the seconds until the next step."""
        self._mark(connection)
        self._expire(connection)
        now_s = time.monotonic()
        wait_s = max(self._paused_until_s - now_s, self._bucket.wait_s(now_s))
        if wait_s > 0:
            return min(wait_s, self._delivery_policy.lease_s / 2)
        claims = ledger.claim(connection, self._channel.name)
        if not claims:
            return self._delivery_policy.poll_s
        self._bucket.take(now_s)
        self._result = self._send(claims[0])
        self._mark(connection)
        return 0.0

    def _send(self, claim: ledger.Claim) -> _SendResult:
        message = Message(f"{claim.record_id}/{claim.rule}", claim.record_id, claim.rule, claim.event_key, claim.text)
        try:
            self._channel.send(message)
        except ChannelRefused as error:
            return _SendResult(claim, str(error))
        except ChannelBusy as busy:
            return _SendResult(claim, str(busy), self._pause(busy.retry_after_s))
        self._failures = 0
        return _SendResult(claim)

    def _pause(self, retry_after_s: float | None) -> float:
        """Pause the whole channel, since the next message would fail as well; returns for how many seconds."""
        self._failures += 1
        # The maximum also limits the wait that the channel asks for: a response must not stop a channel for good.
        requested_s = self._delivery_policy.backoff_s(self._failures) if retry_after_s is None else retry_after_s
        pause_s = min(requested_s, self._delivery_policy.backoff_max_s)
        self._paused_until_s = time.monotonic() + pause_s
        return pause_s

    def _mark(self, connection: DbConnection) -> None:
        """Write the last result to the ledger; it is kept until the write succeeds."""
        if self._result is None:
            return
        result, claim = self._result, self._result.claim
        if result.error is None:
            marked = ledger.mark_sent(connection, [claim])
        elif result.retry_s is None:
            marked = ledger.mark_ended(connection, [claim], "failed", result.error)
        else:
            marked = ledger.delay(connection, [claim], result.retry_s, result.error)
        self._result = None
        self._report(result, marked)

    def _report(self, result: _SendResult, marked: bool) -> None:
        claim = result.claim
        about = log.bind(
            channel=self._channel.name, rule=claim.rule, event_key=claim.event_key, attempts=claim.attempts
        )
        if result.error is None:
            about.info("notification_sent")
        else:
            # notification_failed or notification_retried
            about.warning(f"notification_{result.outcome}", error=result.error, retry_s=result.retry_s)
        if not marked:
            about.warning("notification_claim_lost", effect="another sender claimed it, so it may be sent twice")
        self._on_outcome(self._channel.name, result.outcome)

    def _expire(self, connection: DbConnection) -> None:
        now_s = time.monotonic()
        if now_s < self._expire_at_s:
            return
        self._expire_at_s = now_s + self._delivery_policy.lease_s / 2
        name = self._channel.name
        crash_policy = self._delivery_policy.crash_policy(name)
        for _ in range(ledger.expire_claims(connection, name, self._delivery_policy.lease_s, crash_policy)):
            log.warning("notification_send_interrupted", channel=name, crash_policy=crash_policy)
            self._on_outcome(name, "unknown")
