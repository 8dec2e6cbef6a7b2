"""The audit trail by month: partitions are made when needed, stay append-only, and can be dropped by the owner."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import psycopg
import pytest

from headrace.backup.trail_archive import archive_trail
from headrace.database.embedded import EmbeddedPostgres
from shared.ops.tables import audit
from tests.shared.runtime.api.admin_apps import as_role

Database = psycopg.Connection[Any]
OLD = datetime(2024, 12, 31, 23, 59, tzinfo=UTC)


@pytest.fixture
def cleaner(postgres: EmbeddedPostgres, database_url: str) -> Iterator[Database]:
    with psycopg.connect(as_role(postgres, database_url, "headrace_cleaner").conninfo(), autocommit=True) as connection:
        yield connection


def months(database: Database) -> list[str]:
    rows = database.execute(
        "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
        " WHERE i.inhparent = 'ops.audit'::regclass ORDER BY 1"
    )
    return [name for (name,) in rows]


def drop_all_months(database: Database) -> None:
    for name in months(database):
        database.execute(f'DROP TABLE ops."{name}"')


def append(connection: Database, target: str) -> None:
    audit.append(connection, "cleaner", "token:alice", "pause", target)


def test_a_service_appends_when_no_month_exists(database: Database, cleaner: Database) -> None:
    drop_all_months(database)

    append(cleaner, "raw-events")

    assert len(months(database)) == 2
    assert [each.target for each in audit.list_entries(cleaner)] == ["raw-events"]


def test_services_that_append_at_once_make_each_month_once(
    database: Database, postgres: EmbeddedPostgres, database_url: str
) -> None:
    drop_all_months(database)
    conninfo = as_role(postgres, database_url, "headrace_cleaner").conninfo()

    def work(number: int) -> None:
        with psycopg.connect(conninfo) as connection:
            append(connection, str(number))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(16)))

    assert {each.target for each in audit.list_entries(database)} == {str(number) for number in range(16)}
    assert len(months(database)) == 2


@pytest.mark.parametrize("change", ["UPDATE {} SET who = 'nobody'", "DELETE FROM {}", "TRUNCATE {}"])
def test_no_role_changes_a_line_in_the_table_or_in_a_month(database: Database, cleaner: Database, change: str) -> None:
    append(cleaner, "raw-events")

    for table in ("ops.audit", *(f"ops.{name}" for name in months(database))):
        for connection in (database, cleaner):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(change.format(table).encode())

    assert len(audit.list_entries(cleaner)) == 1


def test_a_service_reaches_the_months_only_through_the_trail(database: Database, cleaner: Database) -> None:
    for statement in (
        *(f"SELECT FROM ops.{name}" for name in months(database)),
        "SELECT ops.create_audit_month('2020-01-01')",
        "DROP TABLE ops.audit",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            cleaner.execute(statement.encode())


def test_old_months_move_to_a_file_and_everything_else_stays(
    database: Database, cleaner: Database, tmp_path: Path
) -> None:
    database.execute("SELECT ops.create_audit_month(%s)", (OLD,))
    insert = (
        "INSERT INTO ops.audit (at, service, who, action, target, outcome, request_id)"
        " VALUES (%s, 'a', 'b', 'c', %s, '', '')"
    )
    database.execute(insert, (OLD, "old"))
    append(cleaner, "new")
    file = tmp_path / "trail.jsonl"

    count = archive_trail(database, file, datetime(2025, 1, 1, tzinfo=UTC), "command:alice")

    assert count == 1
    assert [orjson.loads(line)["target"] for line in file.read_bytes().splitlines()] == ["old"]
    assert {each.target for each in audit.list_entries(database)} == {"new", "trail"}
    assert "audit_2024_12" not in months(database)
