"""The outcome of a tip becomes the last line of messages that can be edited, once, and is corrected."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import psycopg

from services.notifier.findings.outcomes import TipOutcome
from services.notifier.storage.postgres_edits import show_outcomes
from services.notifier.storage.postgres_ledger import NewNotification, record_notifications

TIP = UUID(int=7)
BOT, CONSOLE = "discord-bot/channel/5", "console"
WON, THIRD = TipOutcome(TIP, "**Result** won", "good"), TipOutcome(TIP, "**Result** came in place 3", "muted")


def recorded(database: psycopg.Connection[Any], state: str = "sent") -> None:
    record_notifications(database, [NewNotification(TIP, "tip", "key", "**Favourite**\n1 Ana")], [BOT, CONSOLE])
    database.execute("UPDATE notifier.ledger SET state = %s, external_id = '99', shown_version = 1", (state,))


def texts(database: psycopg.Connection[Any]) -> dict[str, tuple[Any, ...]]:
    rows = database.execute("SELECT channel, text, version, content ->> 'colour' FROM notifier.ledger").fetchall()
    return {channel: tuple(rest) for channel, *rest in rows}


def test_only_channels_that_can_edit_show_the_outcome(database: psycopg.Connection[Any]) -> None:
    recorded(database)

    assert show_outcomes(database, ["discord-bot"], [WON]) == 1

    assert texts(database) == {
        BOT: ("**Favourite**\n1 Ana\n**Result** won", 2, "good"),
        CONSOLE: ("**Favourite**\n1 Ana", 1, None),
    }


def test_the_same_outcome_again_changes_nothing_and_a_corrected_one_replaces_it(
    database: psycopg.Connection[Any],
) -> None:
    recorded(database)
    show_outcomes(database, ["discord-bot"], [WON])

    assert show_outcomes(database, ["discord-bot"], [WON]) == 0
    assert show_outcomes(database, ["discord-bot"], [THIRD]) == 1

    assert texts(database)[BOT] == ("**Favourite**\n1 Ana\n**Result** came in place 3", 3, "muted")


def test_a_tip_that_was_not_sent_is_left_alone(database: psycopg.Connection[Any]) -> None:
    recorded(database, state="pending")

    assert show_outcomes(database, ["discord-bot"], [WON]) == 0
    assert show_outcomes(database, ["discord-bot"], []) == 0
