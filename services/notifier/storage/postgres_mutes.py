"""Stores mutes in notifier.mutes: a muted rule sends nothing. Runs within the caller's transaction.

Times are the database's clock, as in the ledger.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

from psycopg.rows import class_row

from shared.database.connection import DbConnection

_COLUMNS = "id, rule, until, by, created_at, ended_at"


class Mute(NamedTuple):
    """A row of notifier.mutes. The rule is muted until `until`, or until an operator ended the mute at `ended_at`."""

    id: int
    rule: str
    until: datetime
    by: str
    created_at: datetime
    ended_at: datetime | None = None


def active_mutes(connection: DbConnection) -> list[Mute]:
    """The mutes that hold now, the one that ends first at the front. A rule may have several."""
    with connection.cursor(row_factory=class_row(Mute)) as cursor:
        return cursor.execute(
            f"SELECT {_COLUMNS} FROM notifier.mutes WHERE ended_at IS NULL AND until > clock_timestamp()"
            " ORDER BY until, id"
        ).fetchall()


def muted_until(connection: DbConnection) -> dict[str, datetime]:
    """The rules that are muted now, and the end of the mute that ends last."""
    return {mute.rule: mute.until for mute in active_mutes(connection)}


def start_mute(connection: DbConnection, rule: str, duration: timedelta, by: str) -> Mute:
    with connection.cursor(row_factory=class_row(Mute)) as cursor:
        mute = cursor.execute(
            "INSERT INTO notifier.mutes (rule, until, by) VALUES (%s, clock_timestamp() + %s, %s)"
            f" RETURNING {_COLUMNS}",
            (rule, duration, by),
        ).fetchone()
    assert mute is not None  # noqa: S101  # RETURNING of an insert always gives the row
    return mute


def end_mute(connection: DbConnection, mute_id: int) -> Mute | None:
    """The mute after its end; ending it again changes nothing. None if there is no such mute."""
    with connection.cursor(row_factory=class_row(Mute)) as cursor:
        return cursor.execute(
            "UPDATE notifier.mutes SET ended_at = coalesce(ended_at, least(clock_timestamp(), until)) WHERE id = %s"
            f" RETURNING {_COLUMNS}",
            (mute_id,),
        ).fetchone()
