"""The catalogue describes the views of a migrated database, and its generated code and document are current."""

from __future__ import annotations

import os
from pathlib import Path

import psycopg
import pytest

from headrace.database.embedded import EmbeddedPostgres
from headrace.frames.catalogue import VIEWS
from tests.headrace.frames import generated_source as generated
from tests.headrace.frames.rows import STORED
from tests.shared.generated import WRITE, compare

# The same facts in another form: read by frames only, and ranges of knowledge for SQL.
INTERNAL = {
    "packed_predictions", "versions", "listed_history", "observed_history", "settled_history",
    "outcome_history", "transaction_history",
}  # fmt: skip
COLUMNS = """
SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod) FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
WHERE n.nspname = 'analytics' AND c.relkind = 'v' ORDER BY c.relname, a.attnum
"""


def test_the_catalogue_has_the_columns_of_the_database(postgres: EmbeddedPostgres) -> None:
    stored: dict[str, list[tuple[str, str]]] = {}
    with psycopg.connect(postgres.url_with_password()) as connection:
        for view, column, kind in connection.execute(COLUMNS):
            if view not in INTERNAL:
                stored.setdefault(view, []).append((column, kind))

    assert {name: [(each.name, each.sql_type) for each in VIEWS[name].columns] for name in STORED} == stored


@pytest.mark.parametrize("name", STORED)
def test_a_key_identifies_a_row_and_has_no_unknown_column(name: str) -> None:
    view = VIEWS[name]

    assert set(view.key) <= set(view.names)
    assert [each for each in view.key if view.column(each).nullable and each != "slot"] == []
    assert set(view.filters) <= set(view.names)


def test_every_column_is_described() -> None:
    columns = [column for view in VIEWS.values() for column in view.columns]

    assert [column.name for column in columns if not column.meaning.endswith(".")] == []
    assert [column.name for column in columns if column.none.endswith(".")] == []


def test_the_methods_are_those_of_the_catalogue(repository: Path) -> None:
    file, expected = repository / "headrace" / "frames" / "views.py", generated.views_source()
    if os.environ.get(WRITE) == "1":
        file.write_text(expected, encoding="utf-8")

    assert file.read_text(encoding="utf-8") == expected, f"{file.name} is out of date; {WRITE}=1 updates it"


def test_the_document_has_every_view(repository: Path) -> None:
    compare(repository / "docs" / "views.md", "views", generated.views_document())
