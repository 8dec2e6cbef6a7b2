"""The ledger on a real PostgreSQL."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from services.notifier.storage import postgres_claims
from services.notifier.storage import postgres_ledger as ledger
from services.notifier.storage.postgres_ledger import NewNotification, NewSummary
from tests.waiting import DEADLINE_S

Connection = psycopg.Connection[Any]


def notification(text: str = "hello", record_id: UUID | None = None, rule: str = "tip") -> NewNotification:
    return NewNotification(record_id or uuid4(), rule, "river:2026-05-02:07:01", text)


def states(connection: Connection) -> list[tuple[str, str]]:
    return connection.execute("SELECT text, state FROM notifier.ledger ORDER BY id").fetchall()


def claimed_texts(connection: Connection, kind: str = "console") -> list[str]:
    return [each.text for each in postgres_claims.claim(connection, kind)]


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
    assert claimed_texts(database) == []
    assert ledger.recorded(database, [summary.record_id]) == set()

    (pending,) = ledger.pending_summaries(database)
    assert ledger.write_text(database, pending, "all is well") == 2
    assert ledger.write_text(database, pending, "composed by another notifier, too late") == 0

    assert claimed_texts(database, "console") == claimed_texts(database, "discord") == ["all is well"]
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
