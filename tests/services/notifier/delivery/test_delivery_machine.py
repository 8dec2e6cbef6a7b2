"""Delivery under senders that die at any point, uncertain outcomes, holds, edits and operators, in any order.

The senders and the ledger are real. The channel is a model of a receiver: it knows which messages it has.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, ClassVar, Literal
from uuid import uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from services.notifier.channels.base import ChannelBusy, ChannelRefused, ChannelUncertain, Message, Receipt
from services.notifier.delivery.channel_loop import ChannelLoop, DeliveryOptions
from services.notifier.disposition import Disposition, Drop, HoldUntil, Mutes, SendNow
from services.notifier.pacing import DeliveryPolicy, RateLimit
from services.notifier.storage import postgres_ledger as ledger
from services.notifier.storage.postgres_ledger import NewNotification
from tests.services.notifier.sending import open_connection

pytestmark = pytest.mark.slow
Connection = psycopg.Connection[Any]
KIND, ADDRESSES, ALERT = "webhook", ("webhook/a", "webhook/b"), "stage-down"
SENDERS = ("one", "two")
UNLIMITED = RateLimit(1_000_000, 1e9)
PAUSELESS = DeliveryPolicy(backoff_first_s=1e-9, backoff_max_s=1e-9, lease_s=3_600)
PAST = datetime(2026, 1, 1, tzinfo=UTC)

Behaviour = Literal[
    "accept", "busy", "refuse", "uncertain, delivered", "uncertain, lost", "die before", "die after", "cut"
]
FindBehaviour = Literal["answer", "busy", "cannot tell", "die"]
BEHAVIOURS = st.sampled_from(Behaviour.__args__)  # type: ignore[attr-defined]
FIND_BEHAVIOURS = st.sampled_from(FindBehaviour.__args__)  # type: ignore[attr-defined]
DISPOSITIONS = st.sampled_from([SendNow(), SendNow(), SendNow(), HoldUntil(PAST), Drop("muted")])


class SenderDied(BaseException):
    """Nothing catches it, as nothing catches a kill."""


class Receiver:
    """A receiver of messages, with the behaviour of the next request. It keeps every delivery."""

    name, rate = KIND, UNLIMITED
    ignores_repeats: ClassVar[bool] = False

    def __init__(self) -> None:
        self.behaviour: Behaviour = "accept"
        self.find_behaviour: FindBehaviour = "answer"
        self.cut_connection: Connection | None = None
        self.texts: dict[str, list[str]] = {}  # the texts of each message id, one for each delivery
        self.shown: dict[str, str] = {}
        self.refused_edits: set[str] = set()

    def send(self, message: Message) -> Receipt:
        behaviour = self.behaviour
        if behaviour == "die before":
            raise SenderDied
        if behaviour == "refuse":
            raise ChannelRefused("gone")
        if behaviour == "busy" or (behaviour == "uncertain, lost" and self.ignores_repeats):
            raise ChannelBusy("busy", 0)
        if behaviour == "uncertain, lost":
            raise ChannelUncertain("time-out")
        if not (self.ignores_repeats and message.message_id in self.texts):
            self.texts.setdefault(message.message_id, []).append(message.text)
            self.shown[message.message_id] = message.text
        return self._answer(behaviour, message)

    def _answer(self, behaviour: Behaviour, message: Message) -> Receipt:
        if behaviour == "die after":
            raise SenderDied
        if behaviour == "uncertain, delivered":
            raise ChannelBusy("time-out", 0) if self.ignores_repeats else ChannelUncertain("time-out")
        if behaviour == "cut" and self.cut_connection is not None:
            self.cut_connection.close()
        return Receipt(message.message_id)

    def deliveries(self, token: str) -> int:
        return sum(text.count(f"{token} ") for texts in self.texts.values() for text in texts)


class IgnoresRepeats(Receiver):
    ignores_repeats = True


class Verifies(Receiver):
    """It can be asked for a message, and its messages can be edited."""

    ignores_repeats_s = 0.0

    def find(self, message: Message) -> Receipt | None:
        match self.find_behaviour:
            case "die":
                raise SenderDied
            case "busy":
                raise ChannelBusy("busy", 0)
            case "cannot tell":
                raise ChannelRefused("it cannot tell")
            case "answer":
                return Receipt(message.message_id) if message.message_id in self.texts else None

    def edit(self, external_id: str, message: Message) -> None:
        behaviour = self.behaviour
        if behaviour == "die before":
            raise SenderDied
        if behaviour == "refuse":
            self.refused_edits.add(external_id)
            raise ChannelRefused("gone")
        if behaviour in {"busy", "uncertain, lost"}:
            raise ChannelBusy("busy", 0)
        self.shown[external_id] = message.text
        if behaviour != "uncertain, delivered":
            self._answer(behaviour, message)


class ChangingRules:
    def __init__(self) -> None:
        self.decision: Disposition = SendNow()
        self.joins = False

    def disposition(self, rule: str, address: str, created_at: datetime, now: datetime, mutes: Mutes) -> Disposition:
        return self.decision

    def pace(self, address: str) -> RateLimit | None:
        # One token, which is back at once: each message takes the last one.
        return RateLimit(1, 1e9) if self.joins else None

    def alerts(self) -> frozenset[str]:
        return frozenset({ALERT})


class Delivery(RuleBasedStateMachine):
    """Two senders of one channel. `receiver_class` and `retries` (the crash policy) are set by subclasses."""

    url: ClassVar[str]
    receiver_class: ClassVar[type[Receiver]] = Receiver
    retries: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()
        self.receiver = self.receiver_class()
        self.delivery_rules = ChangingRules()
        policy = PAUSELESS.model_copy(update={"retry_after_crash": frozenset({KIND} if self.retries else ())})
        self.options = DeliveryOptions(policy, lambda *_: None, self.delivery_rules)
        self.connection: Connection = psycopg.connect(self.url, autocommit=True)
        self.connection.execute("TRUNCATE notifier.ledger")
        self.loops: dict[str, ChannelLoop] = {}
        self.count = 0
        self.parked: dict[int, int] = {}  # deliveries of the rows that became `unknown`
        self.retried_by_operator: set[str] = set()

    @rule(count=st.integers(1, 4), address=st.sampled_from(ADDRESSES), is_alert=st.booleans())
    def record(self, count: int, address: str, is_alert: bool) -> None:
        name = ALERT if is_alert and count == 1 else "tip"
        texts = [f"n{self.count + i} v1\nmore" for i in range(count)]
        self.count += count
        ledger.record_notifications(
            self.connection, [NewNotification(uuid4(), name, "k", text) for text in texts], [address]
        )

    @rule(
        sender=st.sampled_from(SENDERS),
        behaviour=BEHAVIOURS,
        find=FIND_BEHAVIOURS,
        decision=DISPOSITIONS,
        joins=st.booleans(),
    )
    def step(self, sender: str, behaviour: Behaviour, find: FindBehaviour, decision: Disposition, joins: bool) -> None:
        self.receiver.behaviour, self.receiver.find_behaviour = behaviour, find
        self.delivery_rules.decision, self.delivery_rules.joins = decision, joins
        self._step(sender)

    def _step(self, sender: str) -> None:
        loop = self.loops.setdefault(sender, ChannelLoop(open_connection, self.receiver, self.options))
        loop._expire_at_s = 0.0
        with psycopg.connect(self.url, autocommit=True) as connection:
            self.receiver.cut_connection = connection
            try:
                loop.step(connection)
            except SenderDied:
                del self.loops[sender]
            except psycopg.OperationalError:
                assert connection.closed  # the sender goes on with a new connection

    @rule()
    def leases_end(self) -> None:
        self.connection.execute(
            "UPDATE notifier.ledger SET claimed_at = claimed_at - interval '2 hours' WHERE state = 'sending'"
        )
        # The senders have given up: a lease is longer than any request.
        self.connection.execute("UPDATE notifier.ledger SET due_at = now() WHERE state = 'sent' AND due_at > now()")

    @rule(number=st.integers(0, 20))
    def rewrite(self, number: int) -> None:
        row = self.connection.execute(
            "SELECT record_id, rule, text, version FROM notifier.ledger WHERE split_part(text, ' ', 1) = %s",
            (f"n{number}",),
        ).fetchone()
        if row is not None:
            text = f"n{number} v{row[3] + 1}\nmore"
            assert ledger.rewrite_notification(self.connection, row[0], row[1], text) == 1

    @rule(number=st.integers(0, 20), retries=st.booleans())
    def operator_decides(self, number: int, retries: bool) -> None:
        row = self.connection.execute(
            "SELECT id, state FROM notifier.ledger WHERE split_part(text, ' ', 1) = %s", (f"n{number}",)
        ).fetchone()
        if row is None:
            return
        if retries and ledger.retry_notification(self.connection, row[0]):
            assert row[1] in {"failed", "unknown", "expired"}
            self.retried_by_operator.add(f"n{number}")
            self.parked.pop(row[0], None)
        elif not retries and ledger.discard_notification(self.connection, row[0], "seen"):
            assert row[1] in {"failed", "unknown", "expired"}

    @invariant()
    def nothing_is_delivered_twice(self) -> None:
        if self.retries and not isinstance(self.receiver, Verifies | IgnoresRepeats):
            return
        for number in range(self.count):
            token = f"n{number}"
            # What an operator sends again may arrive again.
            if token not in self.retried_by_operator:
                assert self.receiver.deliveries(token) <= 1

    @invariant()
    def what_is_marked_as_sent_was_delivered(self) -> None:
        for row_id, text, state, external_id, group_id in self._rows():
            token = text.split()[0]
            if state == "sent":
                assert self.receiver.deliveries(token) >= 1
                assert any(f"{token} " in each for each in self.receiver.texts[external_id])
                assert group_id is None or external_id == f"digest/{group_id}"
            if state == "unknown":
                assert self.receiver.deliveries(token) == self.parked.setdefault(
                    row_id, self.receiver.deliveries(token)
                )

    def _rows(self) -> list[tuple[int, str, str, str, Any]]:
        return self.connection.execute(
            "SELECT id, text, state, external_id, group_id FROM notifier.ledger ORDER BY id"
        ).fetchall()

    def teardown(self) -> None:
        """After the last fault everything is decided, and what was decided as sent shows its last version."""
        try:
            self.receiver.behaviour, self.receiver.find_behaviour = "accept", "answer"
            self.delivery_rules.decision = SendNow()
            for _ in range(2 * self.count + 4):
                self.leases_end()
                for sender in SENDERS:
                    self._step(sender)
                if self._is_decided():
                    break
            self._check_end()
        finally:
            self.connection.close()

    def _is_decided(self) -> bool:
        """Nothing is left to send, verify or edit."""
        edits = isinstance(self.receiver, Verifies)
        return not self.connection.execute(
            "SELECT FROM notifier.ledger WHERE state IN ('pending', 'sending')"
            " OR (%s AND state = 'sent' AND version > shown_version)",
            (edits,),
        ).fetchall()

    def _check_end(self) -> None:
        rows = self._rows()
        assert len(rows) == self.count
        assert {state for _, _, state, _, _ in rows} <= {"sent", "failed", "unknown", "expired"}
        self.what_is_marked_as_sent_was_delivered()
        self.nothing_is_delivered_twice()
        if isinstance(self.receiver, Verifies):
            for _, text, state, external_id, _ in rows:
                if state == "sent" and external_id not in self.receiver.refused_edits:
                    assert text.split("\n")[0] in self.receiver.shown[external_id]


class VerifyingDelivery(Delivery):
    receiver_class = Verifies


class AlwaysTells(Verifies):
    """Where it cannot tell, `retry` sends the message again, perhaps twice."""

    def find(self, message: Message) -> Receipt | None:
        self.find_behaviour = "answer" if self.find_behaviour == "cannot tell" else self.find_behaviour
        return super().find(message)


class VerifyingRetryingDelivery(Delivery):
    receiver_class, retries = AlwaysTells, True

    @invariant()
    def nothing_is_left_to_an_operator(self) -> None:
        assert not [row for row in self._rows() if row[2] == "unknown"]


class VerifiesAndIgnoresRepeats(Verifies):
    """Where it cannot tell, the message is sent again, which it ignores."""

    ignores_repeats, ignores_repeats_s = True, 3_600.0


class VerifyingRepeatIgnoringDelivery(Delivery):
    receiver_class = VerifiesAndIgnoresRepeats

    @invariant()
    def nothing_is_left_to_an_operator(self) -> None:
        assert not [row for row in self._rows() if row[2] == "unknown"]


class RepeatIgnoringDelivery(Delivery):
    receiver_class, retries = IgnoresRepeats, True


class ParkingDelivery(Delivery):
    pass


class RetryingDelivery(Delivery):
    retries = True


@pytest.mark.parametrize(
    "machine",
    [
        VerifyingDelivery,
        VerifyingRetryingDelivery,
        VerifyingRepeatIgnoringDelivery,
        RepeatIgnoringDelivery,
        ParkingDelivery,
        RetryingDelivery,
    ],
    ids=lambda machine: machine.__name__,
)
def test_delivery_keeps_its_promises_under_faults_in_any_order(database_url: str, machine: type[Delivery]) -> None:
    class OnDatabase(machine):  # type: ignore[misc, valid-type]
        url = database_url

    run_state_machine_as_test(
        OnDatabase,
        settings=settings(
            max_examples=15, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
