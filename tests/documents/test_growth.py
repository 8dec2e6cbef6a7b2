"""docs/operations.md has the limit of each table, topic and folder, or the reason why it grows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import psycopg
import pytest

from headrace.backup.manifest import SCHEMAS
from shared.ops.retention import gate_rows, message_rows, operation_rows
from shared.settings.sections import RetentionSettings
from shared.topics import OUTBOX_CURSORS, topic_specs

FOLDERS = {"archive", "archive/rejected", "exports", "models", "logs", "postgres"}


@pytest.fixture
def entries(repository: Path) -> dict[str, list[str]]:
    """The cells of its row, by name."""
    text = (repository / "docs" / "operations.md").read_text()
    section = text.partition("\n## What grows\n")[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:1] == "|"]
    return {name: row for row in rows[2:] for name in re.findall(r"`([^`]+)`", row[0])}


def test_each_table_topic_and_folder_is_listed(
    entries: dict[str, list[str]], database: psycopg.Connection[Any]
) -> None:
    tables = database.execute(
        "SELECT relnamespace::regnamespace || '.' || relname FROM pg_class WHERE relkind IN ('r', 'p')"
        " AND NOT relispartition AND relnamespace::regnamespace::text = ANY(%s)",
        (list(SCHEMAS),),
    ).fetchall()
    topics = {spec.name for spec in topic_specs()} | {OUTBOX_CURSORS}

    assert sorted(entries) == sorted({name for (name,) in tables} | topics | FOLDERS)


def test_each_of_them_has_a_limit_or_a_reason(entries: dict[str, list[str]]) -> None:
    assert [name for name, (_, _, kept, _) in entries.items() if not kept] == []
    assert [name for name, (_, _, kept, _) in entries.items() if kept.startswith("for ever") and len(kept) < 20] == []


def test_rows_that_a_service_deletes_name_their_setting(entries: dict[str, list[str]]) -> None:
    settings = RetentionSettings()
    deleted = {"loader": operation_rows(settings), "notifier": message_rows(settings), "fetcher": gate_rows(settings)}

    for service, group in deleted.items():
        for rows in group:
            _, _, kept, by = entries[rows.table]
            assert "`retention." in kept, rows.table
            assert by == service, rows.table
    by_setting = {name for name, row in entries.items() if "`retention." in row[2]}
    assert by_setting == {rows.table for group in deleted.values() for rows in group}
