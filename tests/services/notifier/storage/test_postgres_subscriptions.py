"""Subscriptions are bounded, belong to one person, and select by rule, venue and entity."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import psycopg
import pytest

from services.notifier.bot.records import BotRecords
from services.notifier.storage.postgres_ledger import NewNotification, record_notifications
from services.notifier.storage.postgres_subscriptions import (
    MAX_PER_PERSON,
    TooManySubscriptions,
    remove_subscription,
    subscribe,
    subscribers_of,
    subscriptions_of,
    unsubscribe,
)

ANA, BEA = 11, 12


def test_a_subscription_is_added_once(database: psycopg.Connection[Any]) -> None:
    first = subscribe(database, ANA, "tip", 7, None)

    assert subscribe(database, ANA, "tip", 7, None) == first
    assert subscriptions_of(database, ANA) == [first]
    assert subscriptions_of(database, BEA) == []


def test_a_person_has_at_most_so_many(database: psycopg.Connection[Any]) -> None:
    for venue in range(MAX_PER_PERSON):
        subscribe(database, ANA, "tip", venue, None)

    with pytest.raises(TooManySubscriptions):
        subscribe(database, ANA, "tip", 99, None)
    subscribe(database, BEA, "tip", 99, None)


def test_a_venue_selects(database: psycopg.Connection[Any]) -> None:
    subscribe(database, ANA, "tip", 7, None)
    subscribe(database, BEA, "tip", None, None)

    assert subscribers_of(database, "tip", 7, "") == [ANA, BEA]
    assert subscribers_of(database, "tip", 8, "") == [BEA]
    assert subscribers_of(database, "daily", None, "") == []


def test_only_the_person_can_remove(database: psycopg.Connection[Any]) -> None:
    added = subscribe(database, ANA, "tip", None, None)

    assert not remove_subscription(database, BEA, added.id)
    assert remove_subscription(database, ANA, added.id)
    assert unsubscribe(database, ANA) == 0


def test_a_person_who_blocks_the_bot_is_dropped_with_a_note(
    database: psycopg.Connection[Any], database_url: str
) -> None:
    subscribe(database, ANA, "tip", None, None)
    subscribe(database, BEA, "tip", None, None)
    record_notifications(database, [NewNotification(UUID(int=1), "tip", "key", "text")], [f"discord-bot/user/{ANA}"])

    records = BotRecords(database_url, ["discord-bot/channel/5"])
    records.drop_blocking_person(ANA)
    records.drop_blocking_person(ANA)

    assert subscribers_of(database, "tip", None, "") == [BEA]
    rows = database.execute("SELECT channel, state FROM notifier.ledger ORDER BY id").fetchall()
    assert rows == [(f"discord-bot/user/{ANA}", "expired"), ("discord-bot/channel/5", "pending")]
