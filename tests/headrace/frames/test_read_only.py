"""Nothing that is asked for changes anything, also with the login of a superuser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.frames import BadStatement, FramesError, Headrace, connect
from headrace.frames.query import literal
from tests.services.loader.views import tables

WRITE = "insert into facts.sources (name) values (''x'')"
STATEMENTS = [
    "insert into facts.sources (name) values ('x')",
    "with x as (insert into facts.sources (name) values ('x') returning 1) select * from x",
    "delete from facts.events returning event_key",
    "create table public.x (y int)",
    "create temp table x (y int)",
    "select 1 into public.x",
    "select nextval('facts.events_id_seq')",
    "select setval('facts.events_id_seq', 1)",
    "select lo_create(0)",
    "select * from facts.events for update",
    f"select query_to_xml('{WRITE} returning 1', true, false, '')",
    "select set_config('transaction_read_only', 'off', true)",
    "select set_config('transaction_read_only', 'off', false)",
    "select public.write_source()",
    "select set_config('role', 'none', true), public.write_source()",
    "select set_config('role', 'none', true), set_config('transaction_read_only', 'off', true), public.write_source()",
    "set transaction read write",
    "set default_transaction_read_only = off",
    "set session characteristics as transaction read write",
    "reset role",
    "commit",
    "rollback",
    "begin",
    "commit; insert into facts.sources (name) values ('x')",
    "select 1; commit; insert into facts.sources (name) values ('x')",
    "select 1) to stdout; commit; insert into facts.sources (name) values ('x'); copy (select 1",
    f"do $$ begin execute '{WRITE}'; end $$",
    f"do $$ begin commit; execute '{WRITE}'; end $$",
    "call public.write_source_and_commit()",
    "copy facts.sources from program 'echo x'",
    "copy (select 1) to program 'touch {file}'",
    "explain analyze insert into facts.sources (name) values ('x')",
    "prepare x as select 1",
    "listen x",
    "vacuum",
    "truncate facts.events",
]
FUNCTIONS = f"""
CREATE FUNCTION public.write_source() RETURNS int LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN EXECUTE '{WRITE}'; RETURN 1; END $$;
CREATE PROCEDURE public.write_source_and_commit() LANGUAGE plpgsql AS $$ BEGIN COMMIT; EXECUTE '{WRITE}'; END $$;
"""


@pytest.fixture(scope="module")
def with_functions(hand_made: str) -> str:
    """The owner is a superuser; a function of its rights writes, if it may."""
    with psycopg.connect(hand_made, autocommit=True) as connection:
        assert connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone() == (True,)
        connection.execute(FUNCTIONS.encode())
    return hand_made


def content_of(url: str) -> tuple[Any, ...]:
    with psycopg.connect(url) as connection:
        names = connection.execute("SELECT oid, relname FROM pg_class WHERE relkind IN ('r', 'S', 'v') ORDER BY 1")
        sources = connection.execute("SELECT * FROM facts.sources ORDER BY 1").fetchall()
        sequence = connection.execute("SELECT last_value, is_called FROM facts.events_id_seq").fetchall()
        large_objects = connection.execute("SELECT count(*) FROM pg_largeobject_metadata").fetchone()
        return names.fetchall(), sources, sequence, large_objects, tables(connection)


@pytest.mark.parametrize("statement", STATEMENTS)
def test_a_statement_changes_nothing(with_functions: str, statement: str, tmp_path: Path) -> None:
    before, file = content_of(with_functions), tmp_path / "written"

    with connect(with_functions) as client:
        with pytest.raises(BadStatement):
            client.sql(statement.replace("{file}", str(file)))

        state = client.sql("select current_setting('transaction_read_only'), current_user::text").iloc[0].tolist()
        assert state == ["on", "headrace_reader"]

    assert content_of(with_functions) == before
    assert not file.exists()


def test_the_function_writes_in_a_transaction_that_may_write(with_functions: str) -> None:
    with psycopg.connect(with_functions) as connection:
        assert connection.execute("SELECT public.write_source()").fetchone() == (1,)
        connection.rollback()


def test_a_changed_setting_ends_with_its_query(hr: Headrace) -> None:
    hr.sql("select set_config('search_path', 'pg_catalog', true), set_config('statement_timeout', '1', true)")

    assert len(hr.sql("select * from events")) > 0


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=40).filter(str.isprintable))
def test_a_literal_is_the_text_itself(hr: Headrace, text: str) -> None:
    assert hr.sql(f"select {literal(text)} as x").x.fillna("").tolist() == [text]


@given(st.text(max_size=20))
def test_a_value_of_a_filter_never_ends_its_literal(hr: Headrace, text: str) -> None:
    try:
        frame = hr.events(event=text)
    except FramesError as error:
        assert "printable" in str(error)  # noqa: PT017 - either outcome is right
    else:
        assert frame.empty
