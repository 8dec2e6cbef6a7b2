"""The ledger on a real PostgreSQL."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from services.notifier import postgres_ledger as ledger
from services.notifier.postgres_ledger import Claim, NewNotification, NewSummary
from tests.waiting import DEADLINE_S

Connection = psycopg.Connection[Any]


def note(text: str = "hello", record_id: UUID | None = None, rule: str = "tip") -> NewNotification:
    return NewNotification(record_id or uuid4(), rule, "river:2026-05-02:07:01", text)


def states(connection: Connection) -> list[tuple[str, str]]:
    return connection.execute("SELECT text, state FROM notifier.ledger ORDER BY id").fetchall()


def claimed(connection: Connection, channel: str = "console") -> Claim:
    found = ledger.claim(connection, channel)
    assert found is not None
    return found


@pytest.fixture
def other(database_url: str) -> Iterator[Connection]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


def test_a_note_is_written_once_for_each_channel(database: Connection) -> None:
    told = note()

    assert ledger.record_notifications(database, [told, told], ["console", "discord"]) == 2
    assert ledger.record_notifications(database, [told], ["console", "discord", "webhook"]) == 1
    assert ledger.recorded(database, [told.record_id, uuid4()]) == {told.record_id}


def test_a_summary_is_told_when_it_has_its_text(database: Connection) -> None:
    summary = NewSummary(uuid4(), "daily", "river:2026-05-02")
    ledger.record_summaries(database, [summary, summary], ["console", "discord"])
    assert ledger.claim(database, "console") is None
    assert ledger.recorded(database, [summary.record_id]) == set()

    (waiting,) = ledger.pending_summaries(database)
    assert ledger.write_text(database, waiting, "all is well") == 2
    assert ledger.write_text(database, waiting, "composed by another, too late") == 0

    assert [claimed(database, channel).text for channel in ("console", "discord")] == ["all is well"] * 2
    assert ledger.pending_summaries(database) == []


def test_a_summary_that_is_noted_again_is_looked_at_again(database: Connection) -> None:
    summary = NewSummary(uuid4(), "daily", "river:2026-05-02")
    ledger.record_summaries(database, [summary], ["console"])
    (waiting,) = ledger.pending_summaries(database)
    ledger.discard_summary(database, waiting)
    assert ledger.pending_summaries(database) == []

    ledger.record_summaries(database, [summary], ["console"])

    assert [(again.record_id, again.due_at > waiting.due_at) for again in ledger.pending_summaries(database)] == [
        (summary.record_id, True)
    ]


def test_a_summary_that_was_noted_again_meanwhile_is_not_shelved(database: Connection) -> None:
    summary = NewSummary(uuid4(), "daily", "river:2026-05-02")
    ledger.record_summaries(database, [summary], ["console"])
    (waiting,) = ledger.pending_summaries(database)
    ledger.record_summaries(database, [summary], ["console"])

    assert ledger.discard_summary(database, waiting) == 0
    assert len(ledger.pending_summaries(database)) == 1


def test_notifiers_that_note_the_same_summaries_at_once_wait_and_do_not_lock_up(
    database: Connection, other: Connection
) -> None:
    summaries = [NewSummary(uuid4(), "daily", f"river:2026-05-{day:02d}") for day in range(1, 9)]
    found: list[int] = []

    def note(connection: Connection, noted: list[NewSummary]) -> None:
        found.extend(ledger.record_summaries(connection, noted, ["discord", "console"]) for _ in range(20))

    threads = [
        threading.Thread(target=note, args=(connection, noted))
        for connection, noted in ((database, summaries), (other, summaries[::-1]))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)

    assert found == [16] * 40


def test_notes_of_a_unit_that_failed_are_not_there(database: Connection) -> None:
    with database.transaction(force_rollback=True):
        ledger.record_notifications(database, [note()], ["console"])

    assert states(database) == []


def test_notes_are_claimed_in_their_order_each_once(database: Connection, other: Connection) -> None:
    ledger.record_notifications(database, [note("a"), note("b")], ["console"])

    assert [claimed(database).text, claimed(other).text] == ["a", "b"]
    assert ledger.claim(database, "console") is None


def test_a_claim_in_progress_is_passed_over_not_waited_for(database: Connection, other: Connection) -> None:
    ledger.record_notifications(database, [note("a"), note("b")], ["console"])
    other.execute("SET statement_timeout = '60s'")

    with database.transaction():
        claimed(database)
        second = claimed(other)

    assert second.text == "b"


def test_a_channel_claims_only_its_own(database: Connection) -> None:
    ledger.record_notifications(database, [note()], ["discord"])

    assert ledger.claim(database, "console") is None


def test_a_sent_note_is_never_claimed_again(database: Connection) -> None:
    ledger.record_notifications(database, [note("a")], ["console"])

    assert ledger.mark_sent(database, claimed(database))

    assert states(database) == [("a", "sent")]
    assert ledger.expire_claims(database, "console", 0, "retry") == 0


def test_a_failed_note_keeps_its_reason(database: Connection) -> None:
    ledger.record_notifications(database, [note()], ["console"])

    assert ledger.mark_failed(database, claimed(database), "gone" * 1_000)

    row = database.execute("SELECT state, left(error, 4), length(error) FROM notifier.ledger").fetchone()
    assert row == ("failed", "gone", 1_000)


def test_a_delayed_note_lets_the_others_go_first(database: Connection) -> None:
    ledger.record_notifications(database, [note("a"), note("b")], ["console"])

    assert ledger.delay(database, claimed(database), 3_600, "busy")

    assert claimed(database).text == "b"
    assert ledger.claim(database, "console") is None
    database.execute("UPDATE notifier.ledger SET due_at = now()")
    assert claimed(database).attempts == 2


def test_a_fresh_claim_is_left_to_its_sender(database: Connection) -> None:
    ledger.record_notifications(database, [note("a")], ["console"])
    claimed(database)

    assert ledger.expire_claims(database, "console", 60, "park") == 0
    assert states(database) == [("a", "sending")]


@pytest.mark.parametrize(("undecided", "state"), [("park", "unknown"), ("retry", "pending")])
def test_an_old_claim_is_settled_as_its_channel_wants(
    database: Connection, undecided: ledger.CrashPolicy, state: str
) -> None:
    ledger.record_notifications(database, [note("a")], ["console", "discord"])
    claimed(database, "console")
    claimed(database, "discord")

    assert ledger.expire_claims(database, "console", 0, undecided) == 1

    assert states(database) == [("a", state), ("a", "sending")]


def test_a_slow_sender_that_did_send_still_says_so(database: Connection) -> None:
    ledger.record_notifications(database, [note("a")], ["console"])
    slow = claimed(database)
    ledger.expire_claims(database, "console", 0, "park")

    assert ledger.mark_sent(database, slow)
    assert states(database) == [("a", "sent")]


def test_a_slow_sender_does_not_mark_the_claim_of_another(database: Connection) -> None:
    ledger.record_notifications(database, [note("a")], ["console"])
    slow = claimed(database)
    ledger.expire_claims(database, "console", 0, "retry")
    claimed(database)

    assert not ledger.mark_failed(database, slow, "late")
    assert states(database) == [("a", "sending")]
