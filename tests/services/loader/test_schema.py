"""The schema dictionary agrees with the database."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from services.loader.resolve import RESOLVERS
from services.loader.schema import ALL_TABLES, FACT_TABLES, REFERENCE_TABLES, RETURN_RATES, STAGED_TABLES, Table
from tests.services.loader.table_comments import comments, statements
from tests.services.loader.views import ask

Connection = psycopg.Connection[Any]

# Tables with an id as primary key: their dictionary key is a constraint of this type.
KEY_CONSTRAINTS = {"entities": "u"}
COMMENTS = """
SELECT c.relname, a.attname, d.description FROM pg_description d JOIN pg_class c ON c.oid = d.objoid
LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = d.objsubid AND d.objsubid > 0
WHERE d.classoid = 'pg_class'::regclass AND c.relnamespace = 'facts'::regnamespace AND c.relkind = 'r'
"""
COLUMNS = """
SELECT a.attname::text, format_type(a.atttypid, a.atttypmod), NOT a.attnotnull FROM pg_attribute a
WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped
"""


def constraints(connection: Connection, table: str, kind: str) -> list[tuple[set[str], str]]:
    """The columns of each constraint of this type, and the table to which it refers."""
    return [
        (set(columns), target)
        for columns, target in connection.execute(
            "SELECT array(SELECT attname::text FROM pg_attribute WHERE attrelid = conrelid AND attnum = ANY(conkey)),"
            " confrelid::regclass::text FROM pg_constraint WHERE conrelid = %s::regclass AND contype = %s",
            (table, kind),
        )
    ]


@pytest.mark.parametrize("table", STAGED_TABLES, ids=lambda table: table.name)
def test_a_table_has_the_key_of_its_entry(connection: Connection, table: Table) -> None:
    keys = constraints(connection, table.qualified, KEY_CONSTRAINTS.get(table.name, "p"))
    assert [columns for columns, _ in keys] == [set(table.key)]


@pytest.mark.parametrize("table", ALL_TABLES, ids=lambda table: table.name)
def test_a_table_has_the_columns_of_its_entry(connection: Connection, table: Table) -> None:
    stored = {name: (kind, optional) for name, kind, optional in connection.execute(COLUMNS, (table.qualified,))}
    assert {column.name: (column.sql_type, column.optional) for column in table.all_columns} == stored


def test_the_dictionary_has_every_table(connection: Connection) -> None:
    names = ask(connection, "SELECT relname FROM pg_class WHERE relnamespace = 'facts'::regnamespace AND relkind = 'r'")
    assert {name for (name,) in names} == {table.name for table in ALL_TABLES}


def test_the_database_has_the_meanings_as_comments(connection: Connection) -> None:
    stored = {(table, column): text for table, column, text in connection.execute(COMMENTS)}
    expected = comments(ALL_TABLES)
    missing = {key: text for key, text in expected.items() if stored.get(key) != text}
    assert missing == {}, "add a migration:\n" + "\n".join(statements(missing))
    assert stored.keys() == expected.keys()


@pytest.mark.parametrize("table", STAGED_TABLES, ids=lambda table: table.name)
def test_a_reference_is_a_foreign_key_and_has_a_resolver(connection: Connection, table: Table) -> None:
    keys = constraints(connection, table.qualified, "f")
    assert sorted((sorted(columns), target) for columns, target in keys) == sorted(
        ([reference.column], f"facts.{reference.table}") for reference in table.foreign_keys
    )
    assert {reference.table for reference in table.foreign_keys} <= RESOLVERS.keys()
    assert {reference.column for reference in table.foreign_keys} <= set(table.columns)


def test_rows_of_facts_belong_to_an_event(connection: Connection) -> None:
    for table in FACT_TABLES:
        assert ({"event_id"}, "facts.events") in constraints(connection, table.qualified, "f")
        columns = ", ".join(table.columns)
        values = {"event_id": "-1", "measures": "'{}'", "categories": "'{}'", "refunded": "false", "entity_id": "NULL"}
        row = ", ".join(values.get(column, "1") for column in table.columns)
        with pytest.raises(psycopg.errors.ForeignKeyViolation), connection.transaction():
            connection.execute(f"INSERT INTO {table.qualified} ({columns}) VALUES ({row})")


def test_the_merge_of_return_rates_may_name_no_columns(connection: Connection) -> None:
    columns = ask(
        connection,
        "SELECT attname::text FROM pg_attribute WHERE attrelid = 'facts.return_rates'::regclass AND attnum > 0"
        " ORDER BY attnum",
    )
    assert tuple(name for (name,) in columns) == RETURN_RATES.columns


@pytest.mark.parametrize("name", REFERENCE_TABLES)
def test_tables_of_reference_data_have_one_shape_and_a_view(connection: Connection, name: str) -> None:
    assert {"source_id", "code"} in [columns for columns, _ in constraints(connection, f"facts.{name}", "u")]
    assert ({"source_id"}, "facts.sources") in constraints(connection, f"facts.{name}", "f")
    connection.execute(f"SELECT source, code, name, attributes FROM analytics.{name}")
