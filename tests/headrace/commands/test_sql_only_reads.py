"""`headrace sql` only reads, with the login of the reader, of an owner and of a superuser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from headrace.database.access import Access
from headrace.database.embedded import EmbeddedPostgres
from headrace.database.queries import BadQuery, run_query
from shared.settings.sections import DatabaseSettings

STATEMENTS = [
    "insert into facts.sources (name) values ('x') returning 1",
    "with x as (insert into facts.sources (name) values ('x') returning 1) select * from x",
    "select 1; commit; insert into facts.sources (name) values ('x')",
    "select pg_read_file('PG_VERSION')",
    "select lo_export(lo_create(0), '{file}')",
    "select lo_create(0)",
    "copy (select 1) to program 'touch {file}'",
    "copy (select 1) to '{file}'",
    "do $$ begin execute 'create table public.x ()'; end $$",
    "reset role",
    "select set_config('role', 'none', false)",
    "select set_config('session_authorization', 'default', false)",
    "select set_config('transaction_read_only', 'off', false)",
    "select * from ops.tokens",
    "select set_config('role', 'none', false), query_to_xml('select * from ops.tokens', true, false, '')",
    "select set_config('role', 'none', false), query_to_xml($$select pg_read_file('PG_VERSION')$$, true, false, '')",
    "select query_to_xml('select * from ops.tokens', true, false, set_config('role', 'none', false))",
    "select set_config('role', 'none', false), pg_terminate_backend({pid})",
    "select nextval('ops.order_seq')",
]


@pytest.fixture(params=["superuser", "owner"])
def login(request: pytest.FixtureRequest, postgres: EmbeddedPostgres, database_url: str) -> Iterator[str]:
    """The URL of a login that may do more than the reader, and can become it."""
    if request.param == "superuser":
        yield database_url
        return
    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute("CREATE ROLE some_owner LOGIN PASSWORD 'x' IN ROLE headrace_reader, pg_read_server_files")
        owner.execute("GRANT ALL ON ALL TABLES IN SCHEMA ops, facts TO some_owner")
        owner.execute("GRANT USAGE ON SCHEMA ops, facts TO some_owner")
        try:
            yield make_conninfo(database_url, user="some_owner", password="x")
        finally:
            owner.execute("DROP OWNED BY some_owner; DROP ROLE some_owner")


@pytest.fixture
def access(login: str, tmp_path: Path) -> Access:
    given = conninfo_to_dict(login)
    secret = tmp_path / "password"
    secret.write_text(str(given["password"]))
    secret.chmod(0o600)
    url = f"postgresql://{given['user']}@/{given['dbname']}?host={given['host']}"
    return Access(None, DatabaseSettings(url=url, password_file=secret))


@pytest.mark.parametrize("statement", STATEMENTS)
def test_a_statement_reads_nothing_but_the_views_and_changes_nothing(
    access: Access, database: psycopg.Connection[tuple[Any, ...]], statement: str, tmp_path: Path
) -> None:
    database.execute("INSERT INTO ops.tokens (id, name, digest, scope) VALUES ('x', 'x', '', 'read')")
    (session,) = database.execute("SELECT pg_backend_pid()").fetchone() or (None,)
    file = tmp_path / "written"
    query = statement.replace("{file}", str(file)).replace("{pid}", str(session))

    with access.connect_reader() as connection, pytest.raises(BadQuery):
        list(run_query(connection, query, 60).rows)

    assert not file.exists()
    assert database.execute("SELECT count(*) FROM facts.sources").fetchone() == (0,)
    assert database.execute("SELECT count(*) FROM pg_largeobject_metadata").fetchone() == (0,)


def test_rows_have_the_types_and_names_of_the_statement(access: Access) -> None:
    with access.connect_reader() as connection:
        result = run_query(connection, 'select 1 as n, 2 as n, \'x\' as "a""b", null, 1.50::numeric(4, 2), now()', 60)
        (row,) = list(result.rows)

    assert result.columns == ["n", "n_2", 'a"b', "?column?", "numeric", "now"]
    assert result.types == ["int4", "int4", "text", "text", "numeric", "timestamptz"]
    assert (row[:4], str(row[4])) == ((1, 2, "x", None), "1.50")


def test_a_notification_in_a_statement_is_not_delivered(access: Access, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as listener:
        listener.execute("LISTEN headrace_orders")
        with access.connect_reader() as connection:
            list(run_query(connection, "select pg_notify('headrace_orders', 'x')::text", 60).rows)
        listener.execute("SELECT pg_notify('headrace_orders', 'end')")

        assert [each.payload for each in listener.notifies(timeout=60, stop_after=1)] == ["end"]
