"""The messages and the surprise that a finished day has."""

from __future__ import annotations

from datetime import date
from typing import Any
from uuid import uuid4

import psycopg

from headrace.run.outcome import MESSAGES, biggest_surprise, last_messages

DAY = date(2031, 5, 6)


def test_the_last_messages_about_the_day_are_read_without_markdown(database: psycopg.Connection[Any]) -> None:
    for number in range(MESSAGES + 1):
        database.execute(
            "INSERT INTO notifier.ledger (record_id, rule, channel, event_key, text, state, created_at, due_at)"
            " VALUES (%s, 'tip', 'console', %s, %s, 'sent', now(), now())",
            (uuid4(), f"simulator:{DAY}:07:{number:02}", f"**Favourite** · event {number}\na\\_b wins"),
        )

    messages = last_messages(database, DAY)

    assert messages == [[f"Favourite · event {number}", "a_b wins"] for number in range(1, MESSAGES + 1)]
    assert last_messages(database, date(2031, 5, 7)) == []


def test_a_day_without_scores_has_no_surprise(database: psycopg.Connection[Any]) -> None:
    assert biggest_surprise(database, DAY) is None
