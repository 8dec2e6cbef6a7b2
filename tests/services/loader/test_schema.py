"""The schema dictionary agrees with the database."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from services.loader.load import Loader
from services.loader.postgres_merge import delete, merge, staging_query
from services.loader.resolve import RESOLVERS
from services.loader.rows import event_columns
from services.loader.schema import (
    ALL_TABLES,
    EVENTS,
    FACT_TABLES,
    REFERENCE_TABLES,
    RETURN_RATES,
    STAGED_TABLES,
    Table,
    TableColumn,
)
from shared.runtime.metrics import Metrics
from tests.documents.database_tables import section
from tests.services.loader.conftest import Load
from tests.services.loader.facts import StillClock, at, listed, observed, received, settled
from tests.services.loader.table_comments import comments, statements
from tests.services.loader.views import ask

Connection = psycopg.Connection[Any]

# Tables with an id as primary key: their dictionary key is a constraint of this type.
KEY_CONSTRAINTS = {"entities": "u"}
# The tables whose rows refer to an event or entity by a constraint that is not enforced (migration 0014).
REFERRING = {
    "events": {"entries", "observations", "outcomes", "transactions", "versions"},
    "entities": {"entries", "profiles"},
}
COMMENTS = """
SELECT c.relname, a.attname, d.description FROM pg_description d JOIN pg_class c ON c.oid = d.objoid
LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = d.objsubid AND d.objsubid > 0
WHERE d.classoid = 'pg_class'::regclass AND c.relnamespace = 'facts'::regnamespace AND c.relkind = 'r'
"""
INDEXES = """
SELECT c.relname::text, pg_get_indexdef(i.indexrelid, 1, true), coalesce(pg_get_expr(i.indpred, i.indrelid, true), '')
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
WHERE i.indrelid = %s::regclass AND NOT EXISTS (SELECT FROM pg_constraint o WHERE o.conindid = i.indexrelid)
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


@pytest.mark.parametrize("table", ALL_TABLES, ids=lambda table: table.name)
def test_a_table_has_the_indexes_of_its_entry(connection: Connection, table: Table) -> None:
    stored = connection.execute(INDEXES, (table.qualified,)).fetchall()
    assert sorted(stored) == sorted((index.name, index.on, index.where) for index in table.indexes)


def test_a_table_is_one_entry(connection: Connection) -> None:
    """Staging, merge, references, comments and the document of a table come from its entry."""
    made_up = Table(
        "made_up",
        "Laps of an entry.",
        (TableColumn("event_id", "bigint", "The event.", refers_to="events"), TableColumn("lap", "smallint", "Lap.")),
        (TableColumn("speed", "double precision", "Mean speed.", "m/s", optional=True),),
    )
    connection.execute(
        "CREATE TABLE facts.made_up (event_id bigint, lap smallint, speed float8, UNIQUE (event_id, lap))"
    )
    connection.execute(f"CREATE TEMP TABLE stage_made_up AS {staging_query(made_up)}".encode())
    ids = {"events": {"a": 1, "b": 2}}

    merge(connection, {made_up: [("a", 1, 9.5), ("b", 1, None)]}, ids)
    connection.execute("TRUNCATE stage_made_up")
    merge(connection, {made_up: [("a", 1, 9.0)]}, ids)
    connection.execute("TRUNCATE stage_made_up")
    delete(connection, made_up, [("b", 1)], ids)

    assert ask(connection, "SELECT * FROM facts.made_up") == [(1, 1, 9.0)]
    assert list(statements(comments([made_up])))[-1] == (
        "COMMENT ON COLUMN facts.made_up.speed IS 'Mean speed. Unit: m/s.';"
    )
    assert "| `speed` | double precision | m/s | Mean speed. |" in section(made_up)


def test_each_kind_of_fact_states_its_columns_of_an_event() -> None:
    """The columns that the loader writes for a fact are those of the dictionary."""
    for fact in (listed(), observed(), settled()):
        stated = {"session_id" if name == "session" else name for name in event_columns(fact, at(0))}
        assert stated == {column.name for column in EVENTS.value_columns if column.stated_by == fact.kind}


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


def test_the_constraints_that_are_not_enforced_are_known(connection: Connection) -> None:
    rows = ask(
        connection,
        "SELECT confrelid::regclass::text, conrelid::regclass::text FROM pg_constraint"
        " WHERE contype = 'f' AND NOT conenforced",
    )
    assert sorted(rows) == sorted(
        (f"facts.{parent}", f"facts.{child}") for parent, children in REFERRING.items() for child in children
    )


def test_rows_of_facts_belong_to_an_event(connection: Connection) -> None:
    for table in FACT_TABLES:
        assert ({"event_id"}, "facts.events") in constraints(connection, table.qualified, "f")
        columns = ", ".join(table.columns)
        values = {"event_id": "-1", "measures": "'{}'", "categories": "'{}'", "refunded": "false", "entity_id": "NULL"}
        row = ", ".join(values.get(column, "1") for column in table.columns)
        with pytest.raises(psycopg.errors.ForeignKeyViolation), connection.transaction():
            connection.execute(f"INSERT INTO {table.qualified} ({columns}) VALUES ({row})")


def test_entries_and_profiles_need_their_entity(load: Load, connection: Connection) -> None:
    load(listed())
    for statement in (
        "INSERT INTO facts.entries (event_id, slot, entity_id) SELECT id, 9, -1 FROM facts.events",
        "UPDATE facts.entries SET entity_id = -1 WHERE slot = 1",
        "INSERT INTO facts.profiles (entity_id, known_at, record_id) VALUES (-1, now(), gen_random_uuid())",
    ):
        with pytest.raises(psycopg.errors.ForeignKeyViolation, match="entities"), connection.transaction():
            connection.execute(statement)


def test_events_and_entities_with_rows_are_not_deleted(load: Load, connection: Connection) -> None:
    load(listed(), observed(), settled())
    for name in ("events", "entities"):
        with pytest.raises(psycopg.errors.ForeignKeyViolation), connection.transaction():
            connection.execute(f"DELETE FROM facts.{name}")
    for parent, children in REFERRING.items():
        for child in children:
            with connection.transaction(force_rollback=True):
                for other in children - {child}:
                    connection.execute(f"DELETE FROM facts.{other}")
                with pytest.raises(psycopg.errors.ForeignKeyViolation), connection.transaction():
                    connection.execute(f"DELETE FROM facts.{parent}")


def test_a_deletion_sees_the_rows_of_a_writer_that_it_waited_for(empty_url: str) -> None:
    """And the other isolation levels, in which it would not, are refused."""
    with psycopg.connect(empty_url) as writer, psycopg.connect(empty_url) as owner:
        Loader(StillClock(), Metrics()).handle([received(listed())], writer)
        owner.execute("SET lock_timeout = '50ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            owner.execute("DELETE FROM facts.events")
        writer.rollback()
        owner.rollback()
        owner.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState):
            owner.execute("DELETE FROM facts.events")
        owner.rollback()
        with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState):
            owner.execute("INSERT INTO facts.observations (event_id, slot) VALUES (-1, 1)")
        owner.rollback()


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
