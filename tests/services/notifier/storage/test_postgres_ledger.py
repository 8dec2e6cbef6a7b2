"""The ledger on a real PostgreSQL."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from services.notifier.storage import postgres_ledger as ledger
from services.notifier.storage.postgres_ledger import Claim, NewNotification, NewSummary
from tests.waiting import DEADLINE_S

Connection = psycopg.Connection[Any]


def notification(text: str = "hello", record_id: UUID | None = None, rule: str = "tip") -> NewNotification:
    return NewNotification(record_id or uuid4(), rule, "river:2026-05-02:07:01", text)


def states(connection: Connection) -> list[tuple[str, str]]:
    return connection.execute("SELECT text, state FROM notifier.ledger ORDER BY id").fetchall()


def claim_next(connection: Connection, channel: str = "console") -> Claim:
    claim = ledger.claim(connection, channel)
    assert claim is not None
    return claim


@pytest.fixture
def other(database_url: str) -> Iterator[Connection]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


def test_a_notification_is_recorded_once_for_each_channel(database: Connection) -> None:
    single = notification()

    assert ledger.record_notifications(database, [single, single], ["console", "discord"]) == 2
    assert ledger.record_notifications(database, [single], ["console", "discord", "webhook"]) == 1
    assert ledger.recorded(database, [single.record_id, uuid4()]) == {single.record_id}


def test_a_summary_can_be_claimed_once_it_has_its_text(database: Connection) -> None:
    summary = NewSummary(uuid4(), "daily", "river:2026-05-02")
    ledger.record_summaries(database, [summary, summary], ["console", "discord"])
    assert ledger.claim(database, "console") is None
    assert ledger.recorded(database, [summary.record_id]) == set()

    (pending,) = ledger.pending_summaries(database)
    assert ledger.write_text(database, pending, "all is well") == 2
    assert ledger.write_text(database, pending, "composed by another notifier, too late") == 0

    assert [claim_next(database, channel).text for channel in ("console", "discord")] == ["all is well"] * 2
    assert ledger.pending_summaries(database) == []


def test_a_discarded_summary_that_is_recorded_again_is_pending_again(database: Connection) -> None:
    summary = NewSummary(uuid4(), "daily", "river:2026-05-02")
    ledger.record_summaries(database, [summary], ["console"])
    (pending,) = ledger.pending_summaries(database)
    ledger.discard_summary(database, pending)
    assert ledger.pending_summaries(database) == []

    ledger.record_summaries(database, [summary], ["console"])

    assert [(again.record_id, again.due_at > pending.due_at) for again in ledger.pending_summaries(database)] == [
        (summary.record_id, True)
    ]


def test_a_summary_that_was_recorded_again_meanwhile_is_not_discarded(database: Connection) -> None:
    summary = NewSummary(uuid4(), "daily", "river:2026-05-02")
    ledger.record_summaries(database, [summary], ["console"])
    (pending,) = ledger.pending_summaries(database)
    ledger.record_summaries(database, [summary], ["console"])

    assert ledger.discard_summary(database, pending) == 0
    assert len(ledger.pending_summaries(database)) == 1


def test_notifiers_that_record_the_same_summaries_at_once_do_not_deadlock(
    database: Connection, other: Connection
) -> None:
    summaries = [NewSummary(uuid4(), "daily", f"river:2026-05-{day:02d}") for day in range(1, 9)]
    counts: list[int] = []

    def record(connection: Connection, batch: list[NewSummary]) -> None:
        counts.extend(ledger.record_summaries(connection, batch, ["discord", "console"]) for _ in range(20))

    threads = [
        threading.Thread(target=record, args=(connection, batch))
        for connection, batch in ((database, summaries), (other, summaries[::-1]))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)

    assert counts == [16] * 40


def test_a_failed_unit_leaves_no_notification(database: Connection) -> None:
    with database.transaction(force_rollback=True):
        ledger.record_notifications(database, [notification()], ["console"])

    assert states(database) == []


def test_notifications_are_claimed_in_order_and_once_each(database: Connection, other: Connection) -> None:
    ledger.record_notifications(database, [notification("a"), notification("b")], ["console"])

    assert [claim_next(database).text, claim_next(other).text] == ["a", "b"]
    assert ledger.claim(database, "console") is None


def test_a_claim_in_progress_is_skipped_without_waiting(database: Connection, other: Connection) -> None:
    ledger.record_notifications(database, [notification("a"), notification("b")], ["console"])
    other.execute("SET statement_timeout = '60s'")

    with database.transaction():
        claim_next(database)
        second = claim_next(other)

    assert second.text == "b"


def test_a_channel_claims_only_its_own_notifications(database: Connection) -> None:
    ledger.record_notifications(database, [notification()], ["discord"])

    assert ledger.claim(database, "console") is None


def test_a_sent_notification_is_never_claimed_again(database: Connection) -> None:
    ledger.record_notifications(database, [notification("a")], ["console"])

    assert ledger.mark_sent(database, claim_next(database))

    assert states(database) == [("a", "sent")]
    assert ledger.expire_claims(database, "console", 0, "retry") == 0


def test_a_failed_notification_keeps_its_reason(database: Connection) -> None:
    ledger.record_notifications(database, [notification()], ["console"])

    assert ledger.mark_failed(database, claim_next(database), "gone" * 1_000)

    row = database.execute("SELECT state, left(error, 4), length(error) FROM notifier.ledger").fetchone()
    assert row == ("failed", "gone", 1_000)


def test_a_delayed_notification_lets_the_others_go_first(database: Connection) -> None:
    ledger.record_notifications(database, [notification("a"), notification("b")], ["console"])

    assert ledger.delay(database, claim_next(database), 3_600, "busy")

    assert claim_next(database).text == "b"
    assert ledger.claim(database, "console") is None
    database.execute("UPDATE notifier.ledger SET due_at = now()")
    assert claim_next(database).attempts == 2


def test_a_fresh_claim_is_left_to_its_sender(database: Connection) -> None:
    ledger.record_notifications(database, [notification("a")], ["console"])
    claim_next(database)

    assert ledger.expire_claims(database, "console", 60, "park") == 0
    assert states(database) == [("a", "sending")]


@pytest.mark.parametrize(("policy", "state"), [("park", "unknown"), ("retry", "pending")])
def test_an_expired_claim_is_handled_by_the_crash_policy(
    database: Connection, policy: ledger.CrashPolicy, state: str
) -> None:
    ledger.record_notifications(database, [notification("a")], ["console", "discord"])
    claim_next(database, "console")
    claim_next(database, "discord")

    assert ledger.expire_claims(database, "console", 0, policy) == 1

    assert states(database) == [("a", state), ("a", "sending")]


def test_a_slow_sender_can_still_mark_a_parked_message_as_sent(database: Connection) -> None:
    ledger.record_notifications(database, [notification("a")], ["console"])
    slow_claim = claim_next(database)
    ledger.expire_claims(database, "console", 0, "park")

    assert ledger.mark_sent(database, slow_claim)
    assert states(database) == [("a", "sent")]


def test_a_slow_sender_does_not_mark_the_claim_of_another_sender(database: Connection) -> None:
    ledger.record_notifications(database, [notification("a")], ["console"])
    slow_claim = claim_next(database)
    ledger.expire_claims(database, "console", 0, "retry")
    claim_next(database)

    assert not ledger.mark_failed(database, slow_claim, "late")
    assert states(database) == [("a", "sending")]
