"""Migrations are applied once and unchanged, and do not make the services wait."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from shared.database.connection import DbConnection
from shared.database.migrations import Migration, migrate, migrations, missing_migrations
from shared.errors import ConfigError, TransientError
from tests.waiting import wait_until

# The migrations of the last version that was checked by hand. Later ones are checked by the linter.
CHECKED_BY_HAND = {
    "shared/broker": 2, "shared/runtime": 1, "shared/ops": 5, "services/loader": 6, "services/notifier": 2,
    "shared/grants": 4,
}  # fmt: skip
# Migrations run in a transaction, with a lock time-out that the runner sets.
LINTER_OPTIONS = [
    "--assume-in-transaction",
    "--pg-version",
    "16.0",
    "--exclude",
    "require-lock-timeout,require-statement-timeout",
]
ALTER = "ALTER TABLE ops.slots ADD COLUMN test_note text"


@pytest.fixture
def alter(tmp_path: Path) -> Migration:
    path = tmp_path / "0001_note.sql"
    path.write_text(ALTER)
    return Migration("test", 1, path)


def test_a_migration_is_applied_once(database_url: str, alter: Migration) -> None:
    assert [migrate(database_url, [alter]) for _ in range(2)] == [1, 0]
    assert migrate(database_url) == 0


def test_a_migration_that_was_edited_is_refused(database_url: str, alter: Migration) -> None:
    migrate(database_url, [alter])
    alter.path.write_text(f"{ALTER}  -- edited")

    with pytest.raises(ConfigError, match=r"0001_note\.sql of test was edited after it was applied"):
        migrate(database_url, [alter])


def test_missing_migrations_are_named(database: DbConnection) -> None:
    assert missing_migrations(database) == []

    database.execute("DELETE FROM ops.migrations WHERE area = 'shared/ops' AND number > 4")

    assert [each.number for each in missing_migrations(database)] == [
        each.number for each in migrations() if each.area == "shared/ops" and each.number > 4
    ]


def test_a_migration_that_waits_for_a_lock_does_not_block_others(
    database_url: str, database: DbConnection, alter: Migration
) -> None:
    """A statement that waits for an exclusive lock makes every later statement wait behind it."""
    with psycopg.connect(database_url) as reader, ThreadPoolExecutor(1) as executor:
        reader.execute("SELECT count(*) FROM ops.slots")
        applied = executor.submit(migrate, database_url, [alter], lock_timeout_s=0.2, tries=1000)
        waiting = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'ALTER TABLE ops.slots%'"
        for _ in range(3):
            wait_until(lambda: database.execute(waiting).rowcount)
            database.execute("SELECT count(*) FROM ops.slots")
        assert not applied.done()
        reader.commit()

        assert applied.result() == 1


def test_a_migration_that_deadlocks_with_a_service_is_tried_again(
    database_url: str, database: DbConnection, tmp_path: Path
) -> None:
    path = tmp_path / "0001_two_tables.sql"
    path.write_text("LOCK TABLE ops.slots; LOCK TABLE ops.audit")
    waiting = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%LOCK TABLE ops.audit%'"
    with psycopg.connect(database_url) as service, ThreadPoolExecutor(1) as executor:
        service.execute("SET deadlock_timeout = '60s'")  # the other side finds the deadlock
        service.execute("SELECT count(*) FROM ops.audit")
        applied = executor.submit(migrate, database_url, [Migration("test", 1, path)], lock_timeout_s=30.0)
        wait_until(lambda: database.execute(waiting).rowcount)
        service.execute("SELECT count(*) FROM ops.slots")
        service.commit()

        assert applied.result() == 1


def test_a_lock_that_is_never_free_is_reported(database_url: str, alter: Migration) -> None:
    with psycopg.connect(database_url) as reader:
        reader.execute("SELECT count(*) FROM ops.slots")

        with pytest.raises(TransientError, match=r"canceling statement due to lock timeout.*end long transactions"):
            migrate(database_url, [alter], lock_timeout_s=0.1, tries=2)


def test_migrations_follow_the_rules_of_the_linter() -> None:
    """For example: no lock that lasts as long as a large table is rewritten, nothing that an older service needs."""
    linter = Path(sys.executable).with_name("squawk")
    paths = [str(each.path) for each in migrations() if each.number > CHECKED_BY_HAND.get(each.area, 0)]

    result = subprocess.run([linter, *LINTER_OPTIONS, *paths], check=False, capture_output=True, text=True)

    assert result.returncode == 0, result.stdout + result.stderr
