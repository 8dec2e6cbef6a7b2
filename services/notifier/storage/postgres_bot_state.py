"""Stores what the bot knows of itself, by kind, in notifier.bot_state. Runs within the caller's transaction."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from psycopg.types.json import Jsonb

from shared.database.connection import DbConnection

TOKEN = "token"  # noqa: S105  # a kind of state, not a secret
"""Whether Discord accepts the bot's token: `{"accepted": false, "reason": "..."}`."""

BOARD = "board"
"""The message of the status board: channel, message."""
SESSION = "session"
"""The bot's session of Discord's gateway, for its successor: id, sequence, gateway."""


class BotState(NamedTuple):
    """A stored state. `changed_at`: since when the value is the same, by the database's clock."""

    value: Mapping[str, Any]
    changed_at: datetime


def read_bot_state(connection: DbConnection, kind: str) -> BotState | None:
    row = connection.execute("SELECT value, changed_at FROM notifier.bot_state WHERE kind = %s", (kind,)).fetchone()
    return None if row is None else BotState(*row)


def write_bot_state(connection: DbConnection, kind: str, value: Mapping[str, Any]) -> bool:
    """Returns whether the value has changed."""
    return bool(
        connection.execute(
            "INSERT INTO notifier.bot_state (kind, value) VALUES (%s, %s) ON CONFLICT (kind) DO UPDATE"
            " SET value = excluded.value, changed_at = clock_timestamp() WHERE bot_state.value <> excluded.value",
            (kind, Jsonb(dict(value))),
        ).rowcount
    )
