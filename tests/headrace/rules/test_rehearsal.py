"""What `headrace rules test` derives from stored days equals what the notifier recorded while it followed them."""

from __future__ import annotations

from functools import partial
from typing import Any

import psycopg
import pytest

from headrace.rules.history import read_history, read_only_snapshot
from headrace.rules.rehearsal import RehearsedNotification, rehearse
from services.notifier.rules.rule_book import RuleBook
from services.notifier.storage.postgres_facts import day_rows
from shared.broker.postgres.broker import PostgresBroker
from tests.headrace.rules.made_up_days import TOMORROW, Connection, follow, made_up_days, rich_book
from tests.services.loader.facts import DAY
from tests.services.notifier.books import default_book


def recorded(connection: Connection) -> list[tuple[Any, ...]]:
    return connection.execute(
        "SELECT record_id, rule, channel, event_key, text FROM notifier.ledger WHERE text IS NOT NULL ORDER BY 1, 2, 3"
    ).fetchall()


def rehearsed(connection: Connection, book: RuleBook) -> list[RehearsedNotification]:
    with read_only_snapshot(connection):
        return rehearse(read_history(connection, DAY, TOMORROW), book, partial(day_rows, connection))


@pytest.mark.parametrize("make_book", [default_book, rich_book])
@pytest.mark.parametrize("seed", range(8))
def test_a_rehearsal_equals_what_was_recorded(
    database: Connection, broker: PostgresBroker, seed: int, make_book: Any
) -> None:
    book = make_book()
    follow(database, broker, made_up_days(seed), book)

    notifications = rehearsed(database, book)

    expected = recorded(database)
    actual = sorted(
        (each.record_id, each.rule, address, each.subject, each.text)
        for each in notifications
        for address in book.addresses(each.rule, ["console"])
    )
    assert actual == expected


def test_the_made_up_days_cause_every_kind_of_notification(database: Connection, broker: PostgresBroker) -> None:
    book = rich_book()
    follow(database, broker, made_up_days(2), book)

    assert {each.rule for each in rehearsed(database, book)} == set(book.file.rules)


def test_a_rehearsal_is_repeatable_and_writes_nothing(database: Connection, broker: PostgresBroker) -> None:
    book = rich_book()
    follow(database, broker, made_up_days(1), book)
    before = recorded(database)

    assert rehearsed(database, book) == rehearsed(database, book)
    assert recorded(database) == before
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction), read_only_snapshot(database):
        database.execute("DELETE FROM notifier.ledger")
