"""Metrics of waiting notifications on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from services.notifier.pacing import RateLimit
from services.notifier.storage import postgres_claims as claims
from services.notifier.storage import postgres_ledger as ledger
from services.notifier.storage.postgres_ledger import NewNotification, NewSummary
from services.notifier.storage.postgres_measurements import measure_waiting
from services.notifier.storage.postgres_sending_hold import close_address
from shared.runtime.metrics import Metrics

Connection = psycopg.Connection[Any]
CHANNELS = ("console", "discord")


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    """A connection with the rights of the notifier."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("SET ROLE headrace_notifier")
        yield connection


def waiting(connection: Connection) -> dict[tuple[str, str], float]:
    """The counts that are not zero, and the ages in whole hours, by channel."""
    metrics = Metrics()
    measure_waiting(metrics, CHANNELS)(connection)
    return {
        (sample.labels["channel"], sample.labels.get("state", "hours")): value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name.startswith(("headrace_notifications_waiting", "headrace_notifications_oldest"))
        and (value := sample.value if "state" in sample.labels else round(sample.value / 3600))
    }


def record(connection: Connection, hours: float, channels: tuple[str, ...] = CHANNELS) -> None:
    ledger.record_notifications(connection, [NewNotification(uuid4(), "tip", "river:1", "hello")], channels)
    connection.execute(
        "UPDATE notifier.ledger SET created_at = created_at - make_interval(hours => %(hours)s),"
        " due_at = due_at - make_interval(hours => %(hours)s)",
        {"hours": hours},
    )


def test_what_waits_for_a_closed_address_is_counted_and_not_late(connection: Connection) -> None:
    record(connection, 1, ("slack/a",))
    record(connection, 3, ("slack/b",))
    close_address(connection, "slack/b", "HTTP 404")
    metrics = Metrics()

    measure_waiting(metrics, CHANNELS)(connection)

    get = metrics.registry.get_sample_value
    assert get("headrace_notification_addresses_closed", {"channel": "slack"}) == 1
    assert get("headrace_notification_addresses_closed", {"channel": "console"}) == 0
    assert waiting(connection)["slack", "pending"] == 2
    assert waiting(connection)["slack", "hours"] == 4


def test_channels_without_notifications_have_zeros(connection: Connection) -> None:
    metrics = Metrics()

    measure_waiting(metrics, CHANNELS)(connection)

    get = metrics.registry.get_sample_value
    assert get("headrace_notifications_waiting", {"channel": "discord", "state": "unknown"}) == 0
    assert get("headrace_notifications_oldest_age_seconds", {"channel": "console"}) == 0


def test_unsent_notifications_are_counted_with_the_age_of_the_oldest(connection: Connection) -> None:
    record(connection, 2)
    record(connection, 1)
    assert claims.claim(connection, "discord")

    assert waiting(connection) == {
        ("console", "pending"): 2,
        ("console", "hours"): 3,
        ("discord", "pending"): 1,
        ("discord", "sending"): 1,
        ("discord", "hours"): 3,
    }


def test_a_sent_or_failed_notification_does_not_wait(connection: Connection) -> None:
    record(connection, 1)
    claims.mark_sent(connection, claims.claim(connection, "console"))
    claims.mark_ended(connection, claims.claim(connection, "discord"), "failed", "gone")

    assert waiting(connection) == {}


def test_a_notification_of_unknown_delivery_is_counted_without_an_age(connection: Connection) -> None:
    record(connection, 1, ("discord",))
    claims.claim(connection, "discord")
    connection.execute("UPDATE notifier.ledger SET claimed_at = claimed_at - interval '1 hour'")
    claims.expire_claims(connection, "discord", 30, "park")

    assert waiting(connection) == {("discord", "unknown"): 1}


def test_a_summary_that_is_not_composed_yet_is_no_late_message(connection: Connection) -> None:
    ledger.record_summaries(connection, [NewSummary(uuid4(), "daily", "river:1")], ["console"])
    composing = waiting(connection)
    (summary,) = ledger.pending_summaries(connection)
    ledger.discard_summary(connection, summary)

    assert composing == {("console", "composing"): 1}
    assert waiting(connection) == {}


def test_addresses_of_one_kind_are_counted_together(connection: Connection) -> None:
    record(connection, 2, ("discord-bot/channel/111111111111111111", "discord-bot/user/222222222222222222"))

    assert waiting(connection) == {("discord-bot", "pending"): 2, ("discord-bot", "hours"): 2}


def test_a_notification_that_its_rule_holds_is_not_late(connection: Connection) -> None:
    record(connection, 3, ("console",))
    connection.execute("UPDATE notifier.ledger SET due_at = now() + interval '1 hour'")

    assert waiting(connection) == {("console", "pending"): 1}


def test_a_notification_that_waits_for_its_pace_is_late_after_that(connection: Connection) -> None:
    record(connection, 3, ("console",))
    metrics = Metrics()

    measure_waiting(metrics, CHANNELS, lambda _: RateLimit(1, 1 / 7_200))(connection)

    age_s = metrics.registry.get_sample_value("headrace_notifications_oldest_age_seconds", {"channel": "console"})
    assert age_s == pytest.approx(3_600, abs=600)
