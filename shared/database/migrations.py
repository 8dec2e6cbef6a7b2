"""Applies numbered SQL files in order, once each, under a lock, and records them (docs/adr/0002-migrations.md)."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import psycopg

from shared.errors import ConfigError, TransientError

# The key of the advisory lock: any constant that no other program on the server uses. The ASCII bytes of "headrace".
LOCK = int.from_bytes(b"headrace", "big") & 0x7FFF_FFFF_FFFF_FFFF
# How long a migration, and every session that waits behind it, waits for a lock; how often it is tried; the pause.
LOCK_TIMEOUT_S = 3.0
TRIES = 30
PAUSE_S = 1.0
_ROOT = Path(__file__).parents[2]
# In order of dependency: an area may use the tables of the areas before it.
AREAS = (
    "shared/broker",
    "shared/runtime",
    "shared/ops",
    "services/loader",
    "services/fetcher",
    "services/notifier",
    "shared/grants",
)


class Migration(NamedTuple):
    area: str
    number: int
    path: Path


def migrations() -> list[Migration]:
    return [
        Migration(area, int(path.name.split("_")[0]), path)
        for area in AREAS
        for path in sorted((_ROOT / area / "migrations").glob("*.sql"))
    ]


def migrate(
    url: str, selected: Sequence[Migration] | None = None, *, lock_timeout_s: float = LOCK_TIMEOUT_S, tries: int = TRIES
) -> int:
    """Apply the missing migrations, or those of `selected`. Returns how many files were applied.

    Services may be at work. A statement that waits for a lock makes them wait behind it, so after `lock_timeout_s`, and
    after a deadlock with one of them, the whole transaction is rolled back and tried again a second later.

    Raises ConfigError if a file was edited after it was applied, TransientError if a lock is never free.
    """
    for _ in range(tries):
        try:
            return _migrate(url, selected, lock_timeout_s)
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected) as error:
            cause = error.diag.message_primary
            time.sleep(PAUSE_S)
    raise TransientError(
        f"a migration found no moment without a conflicting lock ({cause}): end long transactions and try again"
    )


def _migrate(url: str, selected: Sequence[Migration] | None, lock_timeout_s: float) -> int:
    with psycopg.connect(url, application_name="headrace migrate") as connection:
        _exclude_others(connection)
        connection.execute("SELECT set_config('lock_timeout', %s, true)", (f"{lock_timeout_s * 1000:.0f}ms",))
        connection.execute("CREATE SCHEMA IF NOT EXISTS ops")
        connection.execute(
            "CREATE TABLE IF NOT EXISTS ops.migrations (area text, number integer, sha256 text NOT NULL,"
            " applied_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (area, number))"
        )
        applied = {
            (area, number): sha
            for area, number, sha in connection.execute("SELECT area, number, sha256 FROM ops.migrations")
        }
        return sum(_apply(connection, migration, applied) for migration in selected or migrations())


def _exclude_others(connection: psycopg.Connection[Any]) -> None:
    """Wait until no other process migrates. The lock of the table is out of reach for the logins of services, unlike an
    advisory lock, which any login can take."""
    row = connection.execute("SELECT to_regclass('ops.migrations') IS NOT NULL").fetchone()
    if row == (True,):
        connection.execute("LOCK TABLE ops.migrations IN SHARE ROW EXCLUSIVE MODE")
    else:
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))


def missing_migrations(connection: psycopg.Connection[Any]) -> list[Migration]:
    """The migrations of this version that the database lacks. It may have those of a later version."""
    try:
        applied = set(connection.execute("SELECT area, number FROM ops.migrations").fetchall())
    except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
        applied = set()
    return [each for each in migrations() if (each.area, each.number) not in applied]


def _apply(
    connection: psycopg.Connection[tuple[str, int, str]], migration: Migration, applied: dict[tuple[str, int], str]
) -> bool:
    text = migration.path.read_bytes()
    sha = hashlib.sha256(text).hexdigest()
    applied_sha = applied.get((migration.area, migration.number))
    if applied_sha == sha:
        return False
    if applied_sha is not None:
        raise ConfigError(
            f"{migration.path.name} of {migration.area} was edited after it was applied: restore it and add a new file"
        )
    connection.execute(text)
    connection.execute(
        "INSERT INTO ops.migrations (area, number, sha256) VALUES (%s, %s, %s)", (migration.area, migration.number, sha)
    )
    return True
