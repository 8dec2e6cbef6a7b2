"""Applies numbered SQL files in order, once each, under a lock, and records them (docs/adr/0002-migrations.md)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import psycopg

from shared.errors import ConfigError

# The key of the advisory lock: any constant that no other program on the server uses. The ASCII bytes of "headrace".
LOCK = int.from_bytes(b"headrace", "big") & 0x7FFF_FFFF_FFFF_FFFF
_ROOT = Path(__file__).parents[2]
# In order of dependency: an area may use the tables of the areas before it.
AREAS = ("shared/broker", "shared/runtime", "shared/ops", "services/loader", "services/notifier", "shared/grants")


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


def migrate(url: str, selected: Sequence[Migration] | None = None) -> int:
    """Apply the missing migrations, or those of `selected`. Returns how many files were applied.

    Raises ConfigError if a file was edited after it was applied.
    """
    with psycopg.connect(url, application_name="headrace migrate") as connection:
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
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
