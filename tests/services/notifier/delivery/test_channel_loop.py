"""One loop of a channel on a real ledger: digests, pace, alerts, dispositions, verification, edits, availability.

The channel is a model of a receiver; test_delivery_machine.py runs it under faults in any order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from services.notifier.channels.base import (
    ChannelBusy,
    ChannelClosed,
    ChannelRefused,
    ChannelUncertain,
    Editing,
    Message,
    Receipt,
    SometimesAvailable,
    Verifying,
)
from services.notifier.delivery.channel_loop import ChannelLoop, DeliveryOptions, ignore_hold
from services.notifier.disposition import Disposition, Drop, HoldUntil, Mutes, SendNow
from services.notifier.pacing import DeliveryPolicy, RateLimit
from services.notifier.sending_hold import SendingHold
from services.notifier.storage import postgres_ledger as ledger
from services.notifier.storage.postgres_claims import ANY, claim
from services.notifier.storage.postgres_ledger import NewNotification
from services.notifier.storage.postgres_sending_hold import (
    close_address,
    hold_sending,
    open_addresses,
    read_closed,
    read_hold,
    release_sending,
)
from services.notifier.texts.content import Content
from tests.services.notifier.sending import open_connection

Connection = psycopg.Connection[Any]
Decide = Callable[[str, datetime, Mutes], Disposition]
UNLIMITED = RateLimit(100_000, 100_000)
ONE_AN_HOUR = RateLimit(1, 1 / 3_600)
POLICY = DeliveryPolicy()


class Receiver:
    """Accepts messages. `errors` are raised instead, in order; an uncertain message is kept before."""

    name, rate = "webhook", UNLIMITED

    def __init__(self) -> None:
        self.errors: list[Exception] = []
        self.messages: list[Message] = []

    def send(self, message: Message) -> Receipt:
        error = self.errors.pop(0) if self.errors else None
        if error is None or isinstance(error, ChannelUncertain):
            self.messages.append(message)
        if error is not None:
            raise error
        return Receipt(f"id-{len(self.messages)}", "thread")


class VerifyingReceiver(Receiver):
    """`answers` of `find`, in order; an exception is raised."""

    ignores_repeats_s = 0.0

    def __init__(self, *answers: Receipt | Exception | None) -> None:
        super().__init__()
        self.answers = list(answers)
        self.edits: list[tuple[str, str]] = []
        self.edit_errors: list[Exception] = []
        self.is_available = True

    def available(self) -> bool:
        return self.is_available

    def find(self, message: Message) -> Receipt | None:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def edit(self, external_id: str, message: Message) -> None:
        if self.edit_errors:
            raise self.edit_errors.pop(0)
        self.edits.append((external_id, message.text))


class GivenRules:
    def __init__(self, pace: RateLimit | None = None, decide: Decide = lambda *_: SendNow()) -> None:
        self._pace = pace
        self._decide = decide

    def disposition(self, rule: str, address: str, created_at: datetime, now: datetime, mutes: Mutes) -> Disposition:
        return self._decide(rule, now, mutes)

    def pace(self, address: str) -> RateLimit | None:
        return self._pace

    def alerts(self) -> frozenset[str]:
        return frozenset({"stage-down"})


def loop_of(
    channel: Receiver,
    rules: GivenRules | None = None,
    policy: DeliveryPolicy = POLICY,
    outcomes: Counter[str] | None = None,
    mutes: Mutes | None = None,
    on_hold: Callable[[SendingHold | None], None] = ignore_hold,
) -> ChannelLoop:
    counter: Counter[str] = Counter() if outcomes is None else outcomes
    options = DeliveryOptions(
        policy, lambda _, outcome: counter.update([outcome]), rules or GivenRules(), lambda _: mutes or {}, on_hold
    )
    return ChannelLoop(open_connection, channel, options)


def run_until_idle(loop: ChannelLoop, database: Connection) -> None:
    while loop.step(database) == 0.0:
        pass


def record(
    database: Connection, count: int = 1, rule: str = "tip", address: str = "webhook/a", **values: Any
) -> list[NewNotification]:
    notes = [NewNotification(uuid4(), rule, "k", f"{rule} {number}\nmore", **values) for number in range(count)]
    ledger.record_notifications(database, notes, [address])
    return notes


def column(database: Connection, name: str) -> list[Any]:
    return [row[0] for row in database.execute(f"SELECT {name} FROM notifier.ledger ORDER BY id").fetchall()]


def end_leases(database: Connection) -> None:
    database.execute("UPDATE notifier.ledger SET claimed_at = claimed_at - interval '1 day', due_at = now()")


def test_a_message_says_where_it_goes_and_what_it_shows(database: Connection) -> None:
    content = Content(colour="critical", actions=("hr:ack:1",))
    record(database, content=content)
    receiver = Receiver()

    run_until_idle(loop_of(receiver), database)

    (message,) = receiver.messages
    assert (message.destination, message.content, message.parts) == ("a", content, ())
    assert column(database, "(state, external_id, thread_id, shown_version)::text") == ["(sent,id-1,thread,1)"]


def test_what_waits_when_the_last_token_is_taken_goes_as_one_digest(database: Connection) -> None:
    notes = record(database, 5)
    receiver = Receiver()

    run_until_idle(loop_of(receiver, GivenRules(RateLimit(3, 1 / 3_600))), database)

    first, second, digest = receiver.messages
    assert (first.parts, second.parts) == ((), ())
    assert digest.parts == ("tip 2", "tip 3", "tip 4")
    assert digest.text.startswith("**3 notifications**")
    assert digest.message_id not in {f"{note.record_id}/tip" for note in notes}
    assert column(database, "external_id") == ["id-1", "id-2", "id-3", "id-3", "id-3"]
    assert len(set(column(database, "group_id")[2:])) == 1


def test_a_digest_that_does_not_fit_is_continued_by_the_next_token(database: Connection) -> None:
    notes = [NewNotification(uuid4(), "tip", "k", f"{number} {'x' * 150}") for number in range(20)]
    ledger.record_notifications(database, notes, ["webhook/a"])
    receiver = Receiver()

    run_until_idle(loop_of(receiver, GivenRules(ONE_AN_HOUR)), database)

    (digest,) = receiver.messages
    assert len(digest.text) <= 2_000
    states = column(database, "state")
    assert states == ["sent"] * len(digest.parts) + ["pending"] * (20 - len(digest.parts))
    assert set(column(database, "attempts")) == {0, 1}
    run_until_idle(loop_of(receiver, GivenRules(ONE_AN_HOUR)), database)
    assert receiver.messages[1].parts[0].startswith(f"{len(digest.parts)} ")


def test_each_address_has_its_own_pace(database: Connection) -> None:
    record(database, 1, address="webhook/a")
    record(database, 1, address="webhook/b")
    receiver = Receiver()

    run_until_idle(loop_of(receiver, GivenRules(ONE_AN_HOUR)), database)

    assert [message.destination for message in receiver.messages] == ["a", "b"]


def test_an_alert_goes_first_alone_and_without_waiting_for_the_pace(database: Connection) -> None:
    record(database, 2)
    record(database, 2, "stage-down")
    receiver = Receiver()
    loop = loop_of(receiver, GivenRules(ONE_AN_HOUR))

    run_until_idle(loop, database)
    record(database, 1)
    record(database, 1, "stage-down")
    run_until_idle(loop, database)

    assert [message.rule for message in receiver.messages] == ["stage-down", "stage-down", "tip", "stage-down"]
    assert [len(message.parts) for message in receiver.messages] == [0, 0, 2, 0]
    assert column(database, "state").count("pending") == 1


def test_a_digest_that_is_sent_again_is_the_same_message(database: Connection) -> None:
    record(database, 3)
    receiver = Receiver()
    receiver.errors = [ChannelBusy("busy", 0), ChannelBusy("busy", 0)]
    sent_ids = []

    class Recording(Receiver):
        def send(self, message: Message) -> Receipt:
            sent_ids.append(message.message_id)
            return receiver.send(message)

    run_until_idle(loop_of(Recording(), GivenRules(ONE_AN_HOUR)), database)

    assert len(sent_ids) == 3
    assert len(set(sent_ids)) == 1
    assert column(database, "attempts") == [3, 3, 3]


def test_a_notification_that_is_held_is_due_later_and_no_attempt_is_counted(database: Connection) -> None:
    record(database)
    receiver = Receiver()

    run_until_idle(
        loop_of(receiver, GivenRules(decide=lambda _, now, __: HoldUntil(now + timedelta(hours=2)))), database
    )

    assert receiver.messages == []
    assert column(database, "(state, attempts, due_at > now() + interval '1 hour')::text") == ["(pending,0,t)"]


def test_a_notification_that_is_dropped_expires_with_its_reason(database: Connection) -> None:
    record(database)
    outcomes: Counter[str] = Counter()

    run_until_idle(loop_of(Receiver(), GivenRules(decide=lambda *_: Drop("muted")), outcomes=outcomes), database)

    assert column(database, "(state, error, attempts)::text") == ["(expired,muted,0)"]
    assert outcomes == {"expired": 1}


def test_only_those_that_may_be_sent_are_in_a_digest(database: Connection) -> None:
    record(database, 1)
    record(database, 1, "grade")
    record(database, 2)
    receiver = Receiver()

    def decide(rule: str, now: datetime, _: Mutes) -> Disposition:
        return HoldUntil(now + timedelta(hours=1)) if rule == "grade" else SendNow()

    run_until_idle(loop_of(receiver, GivenRules(ONE_AN_HOUR, decide)), database)

    (digest,) = receiver.messages
    assert digest.parts == ("tip 0", "tip 0", "tip 1")
    assert column(database, "(state, attempts, group_id IS NULL)::text")[1] == "(pending,0,t)"


def test_the_mutes_are_read_at_each_claim(database: Connection) -> None:
    record(database)
    receiver = Receiver()
    seen: list[Mutes] = []

    def decide(_: str, now: datetime, mutes: Mutes) -> Disposition:
        seen.append(mutes)
        return Drop("muted") if mutes else SendNow()

    muted = {"tip": datetime(2030, 1, 1, tzinfo=UTC)}
    run_until_idle(loop_of(receiver, GivenRules(decide=decide), mutes=muted), database)

    assert seen == [muted]
    assert receiver.messages == []


def test_a_notification_past_its_time_is_not_sent(database: Connection) -> None:
    record(database, 1, expires_s=-1.0)
    record(database, 1, expires_s=3_600.0)
    receiver = Receiver()

    run_until_idle(loop_of(receiver), database)

    assert column(database, "state") == ["expired", "sent"]
    assert column(database, "error")[0].startswith("expired at ")


def test_a_channel_that_is_not_available_leaves_everything_pending(database: Connection) -> None:
    record(database)
    receiver = VerifyingReceiver()
    receiver.is_available = False
    loop = loop_of(receiver)

    run_until_idle(loop, database)
    assert column(database, "(state, attempts)::text") == ["(pending,0)"]
    receiver.is_available = True
    run_until_idle(loop, database)

    assert column(database, "state") == ["sent"]


def test_held_messages_wait_until_they_are_released(database: Connection) -> None:
    record(database)
    receiver = Receiver()
    shown: list[str | None] = []
    loop = loop_of(receiver, on_hold=lambda hold: shown.append(None if hold is None else hold.cause))
    hold_sending(database, "restored")
    hold_sending(database, "later")

    run_until_idle(loop, database)
    assert (receiver.messages, column(database, "state"), shown) == ([], ["pending"], ["restored"])

    release_sending(database)
    run_until_idle(loop, database)
    assert (len(receiver.messages), shown[-1]) == (1, None)


@pytest.mark.parametrize(
    "loss", ["state = 'pending', attempts = 0", "state = 'sending'", None], ids=["claim and mark", "mark", "row"]
)
def test_messages_are_held_if_the_ledger_lost_the_last_one_that_was_sent(
    database: Connection, database_url: str, loss: str | None
) -> None:
    """The database fails over to a state before the last commits; the sender notices it by its next connection."""
    record(database)
    receiver = Receiver()
    loop = loop_of(receiver)
    run_until_idle(loop, database)
    database.execute("DELETE FROM notifier.ledger" if loss is None else f"UPDATE notifier.ledger SET {loss}".encode())
    record(database)

    with psycopg.connect(database_url, autocommit=True) as reconnected:
        run_until_idle(loop, reconnected)

    assert len(receiver.messages) == 1
    hold = read_hold(database)
    assert hold is not None
    assert "an earlier state" in hold.cause


def test_a_new_connection_holds_nothing_if_the_ledger_has_what_was_sent(
    database: Connection, database_url: str
) -> None:
    record(database)
    receiver = Receiver()
    loop = loop_of(receiver)
    run_until_idle(loop, database)
    ledger.retry_notification(database, column(database, "id")[0])
    record(database)

    with psycopg.connect(database_url, autocommit=True) as reconnected:
        run_until_idle(loop, reconnected)

    assert (len(receiver.messages), read_hold(database)) == (2, None)


@pytest.mark.parametrize(("retries", "state"), [(False, "unknown"), (True, "pending")])
def test_without_verification_the_crash_policy_decides_an_uncertain_delivery(
    database: Connection, retries: bool, state: str
) -> None:
    record(database)
    receiver = Receiver()
    receiver.errors = [ChannelUncertain("no answer")]
    policy = POLICY.model_copy(update={"retry_after_crash": frozenset({"webhook"} if retries else ())})
    outcomes: Counter[str] = Counter()

    run_until_idle(loop_of(receiver, policy=policy, outcomes=outcomes), database)

    assert column(database, "(state, error)::text") == [f'({state},"no answer")']
    assert outcomes == {"retried" if retries else "unknown": 1}


@pytest.mark.parametrize(
    ("answer", "states", "deliveries"),
    [
        (Receipt("found"), ["sent"], 1),
        (None, ["sent"], 2),
        (ChannelRefused("cannot tell"), ["unknown"], 1),
        (ChannelBusy("later", 3_600), ["sending"], 1),
    ],
)
def test_a_channel_that_verifies_decides_an_uncertain_delivery(
    database: Connection, answer: Any, states: list[str], deliveries: int
) -> None:
    record(database)
    receiver = VerifyingReceiver(answer)
    receiver.errors = [ChannelUncertain("no answer")]
    policy = POLICY.model_copy(update={"backoff_first_s": 1e-6})

    run_until_idle(loop_of(receiver, policy=policy), database)
    end_leases(database)
    if not isinstance(answer, ChannelBusy):
        run_until_idle(loop_of(receiver, policy=policy), database)

    assert column(database, "state") == states
    assert len(receiver.messages) == deliveries


def test_a_dead_senders_message_is_verified_when_its_lease_is_over(database: Connection) -> None:
    record(database, 2)
    receiver = VerifyingReceiver(Receipt("found"))

    class Dying(Receiver):
        def send(self, message: Message) -> Receipt:
            raise LookupError

    with pytest.raises(LookupError):
        loop_of(Dying(), GivenRules(ONE_AN_HOUR)).step(database)
    run_until_idle(loop_of(receiver), database)
    assert column(database, "state") == ["sending", "sending"]
    end_leases(database)
    run_until_idle(loop_of(receiver), database)

    assert column(database, "(state, external_id)::text") == ["(sent,found)"] * 2
    assert receiver.messages == []


def test_a_changed_notification_is_edited_in_the_channel_once(database: Connection) -> None:
    (note,) = record(database)
    receiver = VerifyingReceiver()
    loop = loop_of(receiver)
    run_until_idle(loop, database)

    ledger.rewrite_notification(database, note.record_id, "tip", "second")
    run_until_idle(loop, database)
    run_until_idle(loop, database)

    assert receiver.edits == [("id-1", "second")]
    assert column(database, "(version, shown_version, attempts)::text") == ["(2,2,1)"]


def test_a_notification_that_changes_before_it_is_sent_is_not_edited(database: Connection) -> None:
    (note,) = record(database)
    ledger.rewrite_notification(database, note.record_id, "tip", "second", Content(colour="good"))
    receiver = VerifyingReceiver()

    run_until_idle(loop_of(receiver), database)

    assert [message.text for message in receiver.messages] == ["second"]
    assert receiver.edits == []


def test_a_busy_channel_is_edited_later_and_a_deleted_message_is_left(database: Connection) -> None:
    (note,) = record(database)
    receiver = VerifyingReceiver()
    run_until_idle(loop_of(receiver), database)
    receiver.edit_errors = [ChannelBusy("busy", 3_600), ChannelRefused("gone")]

    ledger.rewrite_notification(database, note.record_id, "tip", "second")
    run_until_idle(loop_of(receiver), database)
    assert column(database, "(shown_version, due_at > now())::text") == ["(1,t)"]
    end_leases(database)
    run_until_idle(loop_of(receiver), database)

    assert column(database, "(state, shown_version, error)::text") == ["(sent,2,gone)"]


def test_a_changed_row_of_a_digest_changes_the_digest(database: Connection) -> None:
    notes = record(database, 2)
    receiver = VerifyingReceiver()
    loop = loop_of(receiver, GivenRules(ONE_AN_HOUR))
    run_until_idle(loop, database)

    ledger.rewrite_notification(database, notes[1].record_id, "tip", "changed")
    run_until_idle(loop, database)

    assert receiver.edits == [("id-1", "**2 notifications**\n\ntip 0\nmore\n\nchanged")]
    assert column(database, "shown_version") == [1, 2]


def test_the_optional_interfaces_are_recognised() -> None:
    assert isinstance(VerifyingReceiver(), Verifying)
    assert isinstance(VerifyingReceiver(), Editing)
    assert isinstance(VerifyingReceiver(), SometimesAvailable)
    assert not isinstance(Receiver(), Verifying | Editing | SometimesAvailable)


def test_messages_of_a_clock_that_was_ahead_are_sent_when_it_is_right_again(database: Connection) -> None:
    """The ledger's times are the database's. A held message is held for as long as before."""
    record(database, 2)
    last = "id = (SELECT max(id) FROM notifier.ledger)"
    database.execute(f"UPDATE notifier.ledger SET due_at = due_at + interval '2 days' WHERE {last}")
    shift = "created_at = created_at + interval '1 day', due_at = due_at + interval '1 day'"
    database.execute(f"UPDATE notifier.ledger SET {shift}, expires_at = created_at + interval '25 hours'")
    receiver = Receiver()

    run_until_idle(loop_of(receiver), database)

    assert len(receiver.messages) == 1
    assert column(database, "state") == ["sent", "pending"]
    assert column(database, "(due_at - clock_timestamp()) BETWEEN '47 hours' AND '48 hours'")[1]
    assert column(database, "(expires_at - clock_timestamp()) BETWEEN '50 minutes' AND '60 minutes'")[1]


def test_a_claim_of_a_clock_that_was_ahead_ends_with_its_lease(database: Connection) -> None:
    record(database)
    assert claim(database, "webhook", ANY, uuid4())
    database.execute("UPDATE notifier.ledger SET claimed_at = claimed_at + interval '1 day'")

    loop_of(Receiver()).step(database)

    assert column(database, "claimed_at <= clock_timestamp()") == [True]


REFUSAL = ChannelClosed("HTTP 404: configure a new URL")


def trials_are_due(database: Connection) -> None:
    database.execute("UPDATE notifier.sending_hold SET tried_at = tried_at - interval '1 day'")


def test_an_address_that_accepts_no_message_is_closed_and_its_messages_wait(database: Connection) -> None:
    record(database, 3)
    record(database, 2, address="webhook/b")
    receiver, outcomes = Receiver(), Counter[str]()
    receiver.errors = [REFUSAL] * 5
    loop = loop_of(receiver, outcomes=outcomes)

    run_until_idle(loop, database)

    assert receiver.errors == [REFUSAL] * 3  # one request to each address
    assert column(database, "state") == ["pending"] * 5
    assert column(database, "(attempts, error)::text")[0] == '(0,"HTTP 404: configure a new URL")'
    assert [(each.address, each.waiting) for each in read_closed(database)] == [("webhook/a", 3), ("webhook/b", 2)]
    assert outcomes == {"retried": 2}


def test_a_closed_address_delays_no_other(database: Connection) -> None:
    close_address(database, "webhook/a", "HTTP 404")
    record(database, 3)
    record(database, 2, address="webhook/b")
    receiver = Receiver()

    run_until_idle(loop_of(receiver), database)

    assert [message.destination for message in receiver.messages] == ["b", "b"]
    assert column(database, "state") == ["pending"] * 3 + ["sent"] * 2


def test_an_operator_opens_a_closed_address(database: Connection) -> None:
    close_address(database, "webhook/a", "HTTP 404")
    record(database, 2)
    receiver = Receiver()
    loop = loop_of(receiver)
    run_until_idle(loop, database)
    assert receiver.messages == []

    assert open_addresses(database, "webhook") == ["webhook/a"]
    run_until_idle(loop, database)

    assert column(database, "state") == ["sent", "sent"]


def test_a_closed_address_is_tried_rarely_with_one_message_and_opens_if_it_is_accepted(database: Connection) -> None:
    record(database, 3)
    receiver = Receiver()
    receiver.errors = [REFUSAL, REFUSAL]
    loop = loop_of(receiver)
    run_until_idle(loop, database)
    database.execute("UPDATE notifier.sending_hold SET tried_at = tried_at - interval '10 minutes'")
    run_until_idle(loop, database)
    assert len(receiver.errors) == 1  # this sender has tried it already

    trials_are_due(database)
    run_until_idle(loop, database)
    assert (receiver.errors, column(database, "state")) == ([], ["pending"] * 3)

    trials_are_due(database)
    run_until_idle(loop, database)
    assert column(database, "state") == ["sent"] * 3
    assert read_closed(database) == []


def test_a_new_sender_tries_a_closed_address_soon_because_its_settings_may_be_new(database: Connection) -> None:
    record(database)
    receiver = Receiver()
    receiver.errors = [REFUSAL]
    run_until_idle(loop_of(receiver), database)
    run_until_idle(loop_of(receiver), database)
    assert receiver.messages == []  # not within a minute, so that a process that starts again and again sends few

    database.execute("UPDATE notifier.sending_hold SET tried_at = tried_at - interval '2 minutes'")
    run_until_idle(loop_of(receiver), database)

    assert column(database, "state") == ["sent"]


def test_without_a_waiting_message_no_trial_is_used(database: Connection) -> None:
    close_address(database, "webhook/a", "HTTP 404")
    trials_are_due(database)
    loop = loop_of(Receiver())
    run_until_idle(loop, database)

    record(database)
    run_until_idle(loop, database)

    assert column(database, "state") == ["sent"]


def test_messages_expire_while_they_wait_for_a_closed_address(database: Connection) -> None:
    close_address(database, "webhook/a", "HTTP 404")
    record(database, expires_s=0.0)
    record(database, rule="muted")
    record(database)
    outcomes = Counter[str]()
    rules = GivenRules(decide=lambda rule, *_: Drop("muted") if rule == "muted" else SendNow())

    run_until_idle(loop_of(Receiver(), rules, outcomes=outcomes), database)

    assert column(database, "state") == ["expired", "expired", "pending"]
    assert outcomes == {"expired": 2}


def test_a_digest_that_a_closed_address_refused_is_dissolved(database: Connection) -> None:
    record(database, 3)
    receiver = Receiver()
    receiver.errors = [REFUSAL]

    run_until_idle(loop_of(receiver, GivenRules(ONE_AN_HOUR)), database)

    assert column(database, "(state, attempts, group_id)::text") == ["(pending,0,)"] * 3


def test_messages_to_a_closed_address_are_verified_when_it_is_open(database: Connection) -> None:
    record(database)
    receiver = VerifyingReceiver(Receipt("found"))
    receiver.errors = [ChannelUncertain("time-out")]
    loop = loop_of(receiver)
    run_until_idle(loop, database)
    close_address(database, "webhook/a", "HTTP 404")
    end_leases(database)
    run_until_idle(loop, database)
    assert column(database, "state") == ["sending"]

    open_addresses(database, "webhook/a")
    run_until_idle(loop, database)

    assert column(database, "(state, external_id)::text") == ["(sent,found)"]
