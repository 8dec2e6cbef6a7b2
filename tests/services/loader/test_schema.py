"""The schema dictionary agrees with the database."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from services.loader.resolve import RESOLVERS
from services.loader.schema import FACT_TABLES, REFERENCE_TABLES, RETURN_RATES, STAGED_TABLES, Table
from tests.services.loader.views import ask

Connection = psycopg.Connection[Any]

# Tables with an id as primary key: their dictionary key is a constraint of this type.
KEY_CONSTRAINTS = {"entities": "u"}
# Columns that the database fills in itself.
DATABASE_COLUMNS = {"versions": {"written_by"}, "predictions": {"layout", "layout_values"}}


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
def test_a_table_has_the_key_and_the_columns_of_its_entry(connection: Connection, table: Table) -> None:
    keys = constraints(connection, table.qualified, KEY_CONSTRAINTS.get(table.name, "p"))
    assert [columns for columns, _ in keys] == [set(table.key)]
    columns = connection.execute(
        "SELECT attname::text FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND attidentity = ''",
        (table.qualified,),
    ).fetchall()
    assert {name for (name,) in columns} - DATABASE_COLUMNS.get(table.name, set()) == set(table.columns)


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
