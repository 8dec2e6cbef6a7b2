"""Claims, sends, verifies, edits and marks the notifications of one kind of channel."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import NamedTuple
from uuid import uuid4

import structlog

from services.notifier.channels.base import Channel, Digesting, Editing, SometimesAvailable, Verifying
from services.notifier.delivery import attempt as attempts
from services.notifier.delivery.address_pace import AddressPaces
from services.notifier.delivery.attempt import Attempt, message_of
from services.notifier.delivery.closed_addresses import ClosedAddresses
from services.notifier.delivery.digest import count_fitting
from services.notifier.delivery.marks import OnSendOutcome, mark_attempt, mark_edit, report
from services.notifier.delivery.rules import DeliveryRules, SendEverything
from services.notifier.disposition import Disposition, Drop, HoldUntil, Mutes, SendNow
from services.notifier.pacing import DeliveryPolicy, RateLimit
from services.notifier.sending_hold import SendingHold
from services.notifier.storage import postgres_claims as ledger
from services.notifier.storage.postgres_claims import Claim, ClaimChoice, Claims
from services.notifier.storage.postgres_clock_repair import repair_times
from services.notifier.storage.postgres_edits import claim_edit
from services.notifier.storage.postgres_sending_hold import hold_sending, read_hold, went_back
from services.notifier.texts.message import MAX_LENGTH
from shared.database.connection import DbConnection, ReconnectingConnection
from shared.errors import TransientError
from shared.runtime.loops.backoff import LOOP_BACKOFF

Connect = Callable[[], ReconnectingConnection]
ReadMutes = Callable[[DbConnection], Mutes]

WENT_BACK = (
    "the database was restored or failed over to an earlier state, so messages that were sent since may wait again"
)
# A digest of more rows would fit into no message that people read.
MAX_DIGEST_ROWS = 100

log = structlog.get_logger("notifier.sender")


def ignore_hold(_hold: SendingHold | None) -> None:
    return None


def no_mutes(_connection: DbConnection) -> Mutes:
    return {}


class DeliveryOptions(NamedTuple):
    """What holds for every channel. `on_outcome(kind, outcome)` is called for each notification, and `on_hold` with the
    current hold on sending at each step, from the threads."""

    delivery_policy: DeliveryPolicy
    on_outcome: OnSendOutcome
    rules: DeliveryRules = SendEverything()
    read_mutes: ReadMutes = no_mutes
    on_hold: Callable[[SendingHold | None], None] = ignore_hold


class ChannelLoop:
    """Sends the notifications of one kind of channel; `connect` returns a connection of its own, in autocommit mode."""

    def __init__(self, connect: Connect, channel: Channel, options: DeliveryOptions) -> None:
        self._connect = connect
        self._channel = channel
        self._options = options
        self._policy = options.delivery_policy
        self._crash_policy = self._policy.crash_policy(channel.name)
        self._paces = AddressPaces(channel.rate, self._pace_of, self._policy)
        self._closed = ClosedAddresses(channel.name)
        self._unmarked: Callable[[DbConnection], None] | None = None
        self._expire_at_s = 0.0
        self._check_closed_at_s = 0.0
        self._repair_times_at_s = 0.0
        self._id = uuid4()
        self._last_sent: tuple[Claim, float] | None = None
        self._last_connection: DbConnection | None = None

    def run(self, stop: threading.Event) -> None:
        """Send until `stop` is set. While the database is in trouble, waits, and then marks what was sent before."""
        link, failures = self._connect(), 0
        try:
            while not stop.is_set():
                try:
                    with link.use() as connection:
                        wait_s = self.step(connection)
                    failures = 0
                except TransientError as error:
                    failures += 1
                    wait_s = LOOP_BACKOFF.delay_s(failures)
                    log.warning("sender_database_lost", channel=self._channel.name, cause=str(error))
                stop.wait(wait_s)
            with suppress(TransientError), link.use() as connection:
                self._mark(connection)
                self._settle_reconnect(connection)
        finally:
            link.drop()

    def step(self, connection: DbConnection) -> float:
        """Mark the last attempt, then verify, send and edit at most one message each.

        Returns the seconds until the next step. `connection` is in autocommit mode.
        """
        self._mark(connection)
        self._settle_reconnect(connection)
        hold = read_hold(connection)
        self._options.on_hold(hold)
        if isinstance(self._channel, SometimesAvailable) and not self._channel.available():
            return self._policy.poll_s
        self._repair_times(connection)
        self._closed.refresh(connection)
        self._expire_at_closed(connection)
        worked = [self._settle_interrupted(connection)]
        if hold is None:
            worked.append(self._send_next(connection))
            if (address := self._closed.take_trial(connection)) is not None:
                worked.append(self._send_next(connection, only=address))
        worked.append(self._edit_next(connection))
        return 0.0 if any(worked) else self._policy.poll_s

    def _settle_reconnect(self, connection: DbConnection) -> None:
        """On a new connection, give back what was claimed without a reply, and compare the ledger with what was sent.

        The process may end because the database went back, and the next one remembers nothing, so this is also called
        at the end.
        """
        if connection is self._last_connection:
            return
        self._give_back_unsent(connection)
        self._hold_if_ledger_went_back(connection)
        self._last_connection = connection

    def _give_back_unsent(self, connection: DbConnection) -> None:
        """The last attempt is marked, so this loop has sent none of the rows that it holds."""
        if count := ledger.give_back_unsent(connection, self._id):
            log.warning(
                "notification_claim_settled", channel=self._channel.name, rows=count, effect="they were not sent"
            )

    def _hold_if_ledger_went_back(self, connection: DbConnection) -> None:
        """A server that is restored or replaced closes its connections: only then may it lack what was sent."""
        if self._last_sent is None:
            return
        claim, sent_at_s = self._last_sent
        sent_ago = timedelta(seconds=time.monotonic() - sent_at_s)
        if went_back(connection, claim.id, claim.attempts, sent_ago):
            hold_sending(connection, WENT_BACK)
            self._last_sent = None
            log.error("notifications_held", channel=self._channel.name, cause=WENT_BACK)

    def _settle_interrupted(self, connection: DbConnection) -> bool:
        """Decide about a message whose sender died, or that may or may not have been delivered."""
        if not isinstance(self._channel, Verifying):
            self._expire(connection)
            return False
        closed = self._closed.addresses
        claims = ledger.claim_verification(connection, self._channel.name, self._policy.lease_s, closed)
        if claims:
            message = message_of(claims, self._max_digest_length)
            pause = self._pause_of(claims[0].address)
            self._finish(connection, attempts.verify(self._channel, claims, message, self._crash_policy, pause))
        return bool(claims)

    def _send_next(self, connection: DbConnection, only: str | None = None) -> bool:
        """`only`: the closed address that is tried."""
        now_s = time.monotonic()
        alerts = self._options.rules.alerts()
        paused = [*self._paces.paused(now_s), *self._closed.addresses]
        choice = ClaimChoice(alerts, paused, self._paces.paced(now_s), only)
        claims = ledger.claim(connection, self._channel.name, choice, self._id)
        if not claims:
            return False
        admitted = self._admit(connection, claims, is_repeat=claims[0].group_id is not None)
        if admitted:
            self._send(connection, admitted, alerts, now_s + self._policy.lease_s / 2)
        return True

    def _send(self, connection: DbConnection, claims: Claims, alerts: frozenset[str], deadline_s: float) -> None:
        address, now_s = claims[0].address, time.monotonic()
        is_paced = claims[0].rule not in alerts
        if is_paced and self._paces.take_pace(address, now_s) and claims[0].group_id is None:
            claims = self._join_waiting(connection, claims[0], alerts)
        self._paces.take(address, now_s)
        message = message_of(claims, self._max_digest_length)._replace(deadline_s=deadline_s)
        attempt = attempts.send(self._channel, claims, message, self._crash_policy, self._pause_of(address))
        if attempt.outcome in {"retried", "closed"} and is_paced:
            self._paces.put_back(address, now_s)
        self._finish(connection, attempt)

    def _join_waiting(self, connection: DbConnection, first: Claim, alerts: frozenset[str]) -> Claims:
        """The row and, as one digest, those that wait for the same address, as many as fit into a message."""
        joined = ledger.join_digest(connection, first, uuid4(), alerts, MAX_DIGEST_ROWS, self._id)
        others = [each for each in joined if each.id != first.id]
        if not others:
            return [first]
        held = {each.id for each in others} - {each.id for each in self._admit(connection, others, is_repeat=False)}
        claims = [each for each in joined if each.id not in held]
        count = count_fitting([each.text for each in claims], self._max_digest_length)
        if count < len(claims):
            ledger.release(connection, claims[count:])
        return claims[:count]

    def _admit(self, connection: DbConnection, claims: Claims, is_repeat: bool) -> Claims:
        """The rows that may be sent now; the others are held, or expire.

        A digest that is sent again goes with all of its rows, because its receiver may know it already.
        """
        mutes = self._options.read_mutes(connection)
        decisions = [(each, self._disposition(each, mutes)) for each in claims]
        admitted = [each for each, decision in decisions if isinstance(decision, SendNow)]
        if is_repeat and admitted:
            return claims
        for claim, decision in decisions:
            if isinstance(decision, HoldUntil):
                ledger.release(connection, [claim], decision.at, keep_group=is_repeat)
            elif isinstance(decision, Drop):
                ledger.mark_expired(connection, [claim], decision.reason)
                report(claim, "expired", decision.reason, self._options.on_outcome)
        return admitted

    def _disposition(self, claim: Claim, mutes: Mutes) -> Disposition:
        if claim.expires_at is not None and claim.expires_at <= claim.claimed_at:
            return Drop(f"expired at {claim.expires_at.isoformat(timespec='seconds')}")
        return self._options.rules.disposition(claim.rule, claim.address, claim.created_at, claim.claimed_at, mutes)

    def _edit_next(self, connection: DbConnection) -> bool:
        if not isinstance(self._channel, Editing):
            return False
        now_s = time.monotonic()
        paused = [*self._paces.paused(now_s), *self._closed.addresses]
        claims = claim_edit(connection, self._channel.name, self._policy.lease_s, paused)
        if not claims:
            return False
        address, external_id = claims[0].address, claims[0].external_id or ""
        self._paces.take(address, now_s)
        message = message_of(claims, self._max_digest_length)
        attempt = attempts.edit(self._channel, claims, message, external_id, self._pause_of(address))
        self._unmarked = partial(mark_edit, attempt)
        self._mark(connection)
        return True

    def _finish(self, connection: DbConnection, attempt: Attempt) -> None:
        if attempt.outcome == "sent":
            self._paces.succeed(attempt.claims[0].address, time.monotonic())
            self._last_sent = attempt.claims[0], time.monotonic()
        self._unmarked = partial(self._mark_attempt, attempt)
        self._mark(connection)

    def _mark_attempt(self, attempt: Attempt, connection: DbConnection) -> None:
        self._closed.settle(connection, attempt)
        mark_attempt(attempt, self._policy.lease_s, self._options.on_outcome, connection)

    def _mark(self, connection: DbConnection) -> None:
        """Write the last attempt to the ledger; it is kept until the write succeeds."""
        if self._unmarked is not None:
            self._unmarked(connection)
            self._unmarked = None

    def _repair_times(self, connection: DbConnection) -> None:
        now_s = time.monotonic()
        if now_s < self._repair_times_at_s:
            return
        self._repair_times_at_s = now_s + self._policy.lease_s / 2
        if count := repair_times(connection, self._channel.name):
            log.warning(
                "notification_times_repaired", channel=self._channel.name, rows=count,
                cause="they were recorded while the database's clock was ahead",
            )  # fmt: skip

    def _expire_at_closed(self, connection: DbConnection) -> None:
        """What waits for a closed address is not claimed, and expires all the same."""
        now_s = time.monotonic()
        if not self._closed.addresses or now_s < self._check_closed_at_s:
            return
        self._check_closed_at_s = now_s + self._policy.lease_s / 2
        mutes = self._options.read_mutes(connection)
        for row in self._closed.next_waiting(connection):
            decision = self._disposition(row, mutes)
            if isinstance(decision, Drop) and ledger.expire_waiting(connection, row, decision.reason):
                report(row, "expired", decision.reason, self._options.on_outcome)

    def _expire(self, connection: DbConnection) -> None:
        now_s = time.monotonic()
        if now_s < self._expire_at_s:
            return
        self._expire_at_s = now_s + self._policy.lease_s / 2
        self._give_back_unsent(connection)  # also a claim that the server completed only after the reconnect
        name = self._channel.name
        for _ in range(ledger.expire_claims(connection, name, self._policy.lease_s, self._crash_policy)):
            log.warning("notification_send_interrupted", channel=name, crash_policy=self._crash_policy)
            self._options.on_outcome(name, "unknown")

    def _pause_of(self, address: str) -> attempts.Pause:
        return lambda retry_after_s: self._paces.fail(address, time.monotonic(), retry_after_s)

    def _pace_of(self, address: str) -> RateLimit | None:
        pace = self._options.rules.pace(address)
        if pace is None and isinstance(self._channel, Digesting):
            return self._channel.pace
        return pace

    @property
    def _max_digest_length(self) -> int:
        return self._channel.max_digest_length if isinstance(self._channel, Digesting) else MAX_LENGTH
