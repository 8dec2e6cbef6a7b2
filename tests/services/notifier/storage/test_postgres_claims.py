"""Claims of the ledger's rows on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from services.notifier.storage import postgres_claims as claims
from services.notifier.storage.postgres_claims import Claim
from services.notifier.storage.postgres_ledger import NewNotification, record_notifications, retry_notification

Connection = psycopg.Connection[Any]


def notification(text: str = "hello", record_id: UUID | None = None, rule: str = "tip") -> NewNotification:
    return NewNotification(record_id or uuid4(), rule, "river:2026-05-02:07:01", text)


def states(connection: Connection) -> list[tuple[str, str]]:
    return connection.execute("SELECT text, state FROM notifier.ledger ORDER BY id").fetchall()


def claim_next(connection: Connection, kind: str = "console") -> Claim:
    (claim,) = claims.claim(connection, kind)
    return claim


@pytest.fixture
def other(database_url: str) -> Iterator[Connection]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


def test_notifications_are_claimed_in_order_and_once_each(database: Connection, other: Connection) -> None:
    record_notifications(database, [notification("a"), notification("b")], ["console"])

    assert [claim_next(database).text, claim_next(other).text] == ["a", "b"]
    assert not claims.claim(database, "console")


def test_a_claim_in_progress_is_skipped_without_waiting(database: Connection, other: Connection) -> None:
    record_notifications(database, [notification("a"), notification("b")], ["console"])
    other.execute("SET statement_timeout = '60s'")

    with database.transaction():
        claim_next(database)
        second = claim_next(other)

    assert second.text == "b"


def test_a_channel_claims_only_its_own_notifications(database: Connection) -> None:
    record_notifications(database, [notification()], ["discord"])

    assert not claims.claim(database, "console")


def test_a_sent_notification_is_never_claimed_again(database: Connection) -> None:
    record_notifications(database, [notification("a")], ["console"])

    assert claims.mark_sent(database, [claim_next(database)])

    assert states(database) == [("a", "sent")]
    assert claims.expire_claims(database, "console", 0, "retry") == 0


def test_a_failed_notification_keeps_its_reason(database: Connection) -> None:
    record_notifications(database, [notification()], ["console"])

    assert claims.mark_ended(database, [claim_next(database)], "failed", "gone" * 1_000)

    row = database.execute("SELECT state, left(error, 4), length(error) FROM notifier.ledger").fetchone()
    assert row == ("failed", "gone", 1_000)


def test_a_delayed_notification_lets_the_others_go_first(database: Connection) -> None:
    record_notifications(database, [notification("a"), notification("b")], ["console"])

    assert claims.delay(database, [claim_next(database)], 3_600, "busy")

    assert claim_next(database).text == "b"
    assert not claims.claim(database, "console")
    database.execute("UPDATE notifier.ledger SET due_at = now()")
    assert claim_next(database).attempts == 2


def test_a_fresh_claim_is_left_to_its_sender(database: Connection) -> None:
    record_notifications(database, [notification("a")], ["console"])
    claim_next(database)

    assert claims.expire_claims(database, "console", 60, "park") == 0
    assert states(database) == [("a", "sending")]


@pytest.mark.parametrize(("policy", "state"), [("park", "unknown"), ("retry", "pending")])
def test_an_expired_claim_is_handled_by_the_crash_policy(
    database: Connection, policy: claims.CrashPolicy, state: str
) -> None:
    record_notifications(database, [notification("a")], ["console", "discord"])
    claim_next(database, "console")
    claim_next(database, "discord")

    assert claims.expire_claims(database, "console", 0, policy) == 1

    assert states(database) == [("a", state), ("a", "sending")]


def test_a_message_whose_senders_keep_dying_fails_with_the_cause(database: Connection) -> None:
    record_notifications(database, [notification("a")], ["console"])
    for _ in range(claims.MAX_INTERRUPTIONS):
        assert states(database) == [("a", "pending")]
        claim_next(database)
        assert claims.expire_claims(database, "console", 0, "retry") == 1

    assert states(database) == [("a", "failed")]
    assert not claims.claim(database, "console")
    row = database.execute("SELECT error, attempts FROM notifier.ledger").fetchone()
    assert row == (claims.GIVEN_UP, claims.MAX_INTERRUPTIONS)

    (id_,) = database.execute("SELECT id FROM notifier.ledger").fetchone() or (0,)
    assert retry_notification(database, id_)
    claim_next(database)
    claims.expire_claims(database, "console", 0, "retry")
    assert states(database) == [("a", "pending")]


def test_only_claims_whose_senders_died_count_as_interruptions(database: Connection) -> None:
    """The sender that postpones a verification is alive."""
    record_notifications(database, [notification("a")], ["console"])
    claim = claim_next(database)
    for _ in range(2 * claims.MAX_INTERRUPTIONS):
        assert claims.postpone_verification(database, [claim], -1, 0, "no answer")
        (claim,) = claims.claim_verification(database, "console", 0)
    assert claim.interruptions == 0

    (claim,) = claims.claim_verification(database, "console", 0)
    assert claim.interruptions == 1


def test_a_slow_sender_can_still_mark_a_parked_message_as_sent(database: Connection) -> None:
    record_notifications(database, [notification("a")], ["console"])
    slow_claim = claim_next(database)
    claims.expire_claims(database, "console", 0, "park")

    assert claims.mark_sent(database, [slow_claim])
    assert states(database) == [("a", "sent")]


def test_a_slow_sender_does_not_mark_the_claim_of_another_sender(database: Connection) -> None:
    record_notifications(database, [notification("a")], ["console"])
    slow_claim = claim_next(database)
    claims.expire_claims(database, "console", 0, "retry")
    claim_next(database)

    assert not claims.mark_ended(database, [slow_claim], "failed", "late")
    assert states(database) == [("a", "sending")]
