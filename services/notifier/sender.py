"""Tells what the ledger holds: one thread and one database connection a channel, so that a slow one delays no other.

Effectively once: a row is claimed before it is sent and marked after. What happens when a sender dies in between is
in postgres_ledger.py.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Literal, NamedTuple

import psycopg
import structlog

from services.notifier import postgres_ledger as ledger
from services.notifier.channels.base import Channel, ChannelBusy, ChannelRefused, Message
from services.notifier.pacing import Delivery, TokenBucket
from shared.database.connection import DbConnection

Outcome = Literal["sent", "failed", "retried", "unknown"]
OnOutcome = Callable[[str, Outcome], None]
Connect = Callable[[], DbConnection]

log = structlog.get_logger("notifier.sender")


class Sender:
    """`connect` gives a new connection each time; `on_outcome(channel, outcome)` is called from the threads."""

    def __init__(
        self, connect: Connect, channels: Sequence[Channel], delivery: Delivery, on_outcome: OnOutcome
    ) -> None:
        self._loops = [ChannelLoop(connect, channel, delivery, on_outcome) for channel in channels]

    def run(self, stop: threading.Event) -> None:
        """Send until `stop` is set. An unforeseen error in one channel sets it, ends all and is raised."""
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


class _Verdict(NamedTuple):
    """What became of a claimed row, until the ledger knows it too. `retry_s` None with an error: never again."""

    claim: ledger.Claim
    error: str | None = None
    retry_s: float | None = None

    @property
    def outcome(self) -> Outcome:
        if self.error is None:
            return "sent"
        return "failed" if self.retry_s is None else "retried"


class ChannelLoop:
    """One channel's share of the sender."""

    def __init__(self, connect: Connect, channel: Channel, delivery: Delivery, on_outcome: OnOutcome) -> None:
        self._connect = connect
        self._channel = channel
        self._delivery = delivery
        self._on_outcome = on_outcome
        self._bucket = TokenBucket(channel.rate, time.monotonic())
        self._verdict: _Verdict | None = None
        self._failures = 0
        self._closed_until_s = 0.0
        self._expire_at_s = 0.0

    def run(self, stop: threading.Event) -> None:
        """A lost database is waited for; what was sent meanwhile is marked when it is back."""
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
                log.warning("database away", channel=self._channel.name, error=type(error).__name__)
                stop.wait(self._delivery.backoff_s(losses))

    def step(self, connection: DbConnection) -> float:
        """Mark, settle and send at most one message; returns how long to wait before the next step, in seconds."""
        self._mark(connection)
        self._expire(connection)
        now_s = time.monotonic()
        wait_s = max(self._closed_until_s - now_s, self._bucket.wait_s(now_s))
        if wait_s > 0:
            return min(wait_s, self._delivery.lease_s / 2)
        claimed = ledger.claim(connection, self._channel.name)
        if claimed is None:
            return self._delivery.poll_s
        self._bucket.take(now_s)
        self._verdict = self._send(claimed)
        self._mark(connection)
        return 0.0

    def _send(self, claimed: ledger.Claim) -> _Verdict:
        message = Message(
            f"{claimed.record_id}/{claimed.rule}", claimed.record_id, claimed.rule, claimed.event_key, claimed.text
        )
        try:
            self._channel.send(message)
        except ChannelRefused as error:
            return _Verdict(claimed, str(error))
        except ChannelBusy as busy:
            return _Verdict(claimed, str(busy), self._close(busy.retry_after_s))
        self._failures = 0
        return _Verdict(claimed)

    def _close(self, retry_after_s: float | None) -> float:
        """The channel rests, not only this message: the next one would fail as well. Returns for how long."""
        self._failures += 1
        # The longest wait bounds the other side's wish too: nobody else can silence a channel for good.
        wished_s = self._delivery.backoff_s(self._failures) if retry_after_s is None else retry_after_s
        rest_s = min(wished_s, self._delivery.backoff_max_s)
        self._closed_until_s = time.monotonic() + rest_s
        return rest_s

    def _mark(self, connection: DbConnection) -> None:
        """Write the last verdict into the ledger; kept until that worked."""
        if self._verdict is None:
            return
        verdict, claimed = self._verdict, self._verdict.claim
        if verdict.error is None:
            marked = ledger.mark_sent(connection, claimed)
        elif verdict.retry_s is None:
            marked = ledger.mark_failed(connection, claimed, verdict.error)
        else:
            marked = ledger.delay(connection, claimed, verdict.retry_s, verdict.error)
        self._verdict = None
        self._tell(verdict, marked)

    def _tell(self, verdict: _Verdict, marked: bool) -> None:
        claimed = verdict.claim
        about = log.bind(
            channel=self._channel.name, rule=claimed.rule, event_key=claimed.event_key, attempts=claimed.attempts
        )
        if verdict.error is None:
            about.info("notification sent")
        else:
            about.warning(f"notification {verdict.outcome}", error=verdict.error, retry_s=verdict.retry_s)
        if not marked:
            about.warning("another sender took this notification over: it may be told twice")
        self._on_outcome(self._channel.name, verdict.outcome)

    def _expire(self, connection: DbConnection) -> None:
        now_s = time.monotonic()
        if now_s < self._expire_at_s:
            return
        self._expire_at_s = now_s + self._delivery.lease_s / 2
        name = self._channel.name
        undecided = self._delivery.undecided(name)
        for _ in range(ledger.expire(connection, name, self._delivery.lease_s, undecided)):
            log.warning("a sender died between sending and marking", channel=name, then=undecided)
            self._on_outcome(name, "unknown")
