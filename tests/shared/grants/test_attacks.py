"""Every login tries to leave its rights: files, programs, other roles, new objects, settings, sequences, functions."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from headrace.database.embedded import EmbeddedPostgres
from shared.database.connection import DbConnection
from tests.shared.grants.rights import READER, SERVICE_ROLES

ROLES = (*SERVICE_ROLES, READER)
REFUSED = (psycopg.errors.InsufficientPrivilege, psycopg.errors.ReadOnlySqlTransaction)
ATTACKS = (
    "SELECT pg_read_file('PG_VERSION')",
    "SELECT pg_read_binary_file('PG_VERSION')",
    "SELECT pg_ls_dir('.')",
    "SELECT pg_stat_file('PG_VERSION')",
    "SELECT lo_import('/etc/hostname')",
    "COPY (SELECT 1) TO PROGRAM 'true'",
    "COPY (SELECT 1) TO '/tmp/headrace-attack'",
    "SET ROLE headrace_owner",
    "CREATE ROLE headrace_attack",
    "ALTER ROLE headrace_owner PASSWORD 'x'",
    "GRANT headrace_owner TO current_user",
    "SET session_replication_role = replica",
    "SELECT rolpassword FROM pg_authid",
    "SELECT * FROM pg_statistic",
    "CREATE FOREIGN DATA WRAPPER attack",
    "CREATE FUNCTION public.attack() RETURNS int LANGUAGE sql RETURN 1",
    "CREATE FUNCTION broker.attack() RETURNS int LANGUAGE sql RETURN 1",
    "CREATE TABLE public.attack (x int)",
    "CREATE TABLE ops.attack (x int)",
    "CREATE SCHEMA attack",
    "CREATE PUBLICATION attack FOR TABLE broker.log",
    "SELECT pg_create_physical_replication_slot('attack')",
    "SELECT pg_switch_wal()",
    "SELECT pg_reload_conf()",
    "SELECT pg_rotate_logfile()",
    "ALTER TABLE broker.log DISABLE ROW LEVEL SECURITY",
    "ALTER TABLE ops.audit DISABLE TRIGGER ALL",
    "CREATE POLICY attack ON broker.log USING (true)",
    "CREATE RULE attack AS ON INSERT TO ops.audit DO INSTEAD NOTHING",
    "CREATE TRIGGER attack BEFORE INSERT ON broker.log EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "DROP TABLE ops.audit",
    "COMMENT ON TABLE ops.audit IS 'x'",
    "ALTER FUNCTION ops.own_service() RENAME TO attack",
    "LOCK TABLE ops.tokens IN SHARE MODE",
    "LOCK TABLE broker.topics IN SHARE MODE",
)


@pytest.fixture
def login(request: pytest.FixtureRequest, postgres: EmbeddedPostgres, database_url: str) -> Iterator[DbConnection]:
    """A superuser's connection that has become the role, as after a login of it."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(sql.SQL("SET SESSION AUTHORIZATION {}").format(sql.Identifier(request.param)))
        yield connection


@pytest.mark.parametrize("login", ROLES, indirect=True)
def test_no_login_leaves_its_rights(login: DbConnection) -> None:
    succeeded = []
    for attack in ATTACKS:
        try:
            with login.transaction(force_rollback=True):
                login.execute(attack.encode())
            succeeded.append(attack)
        except REFUSED:
            continue
        except psycopg.Error as error:  # not for lack of a right
            succeeded.append(f"{attack}: {error}")

    assert succeeded == []


@pytest.mark.parametrize("login", ROLES, indirect=True)
def test_no_login_becomes_another_role(login: DbConnection) -> None:
    roles = login.execute(
        "SELECT rolname FROM pg_roles WHERE rolname <> session_user AND rolname <> 'headrace_service'"
        " AND pg_has_role(session_user, oid, 'SET')"
    ).fetchall()

    assert roles == []


def test_no_login_sets_a_sequence(database: DbConnection) -> None:
    sequences = "SELECT c.oid FROM pg_class c WHERE c.relkind = 'S'"
    rows = database.execute(
        "SELECT role, s.oid::regclass::text FROM unnest(%s::text[]) AS role,"
        f" ({sequences}) AS s WHERE has_sequence_privilege(role, s.oid, 'UPDATE')",
        (list(ROLES),),
    ).fetchall()

    assert rows == []
    assert database.execute(f"SELECT count(*) FROM ({sequences}) AS s").fetchone() != (0,)


def test_no_login_runs_functions_of_files_and_servers(database: DbConnection) -> None:
    """No function of PostgreSQL that reads or writes files, or reaches other servers, is granted to a login."""
    rows = database.execute(
        "SELECT role, p.oid::regprocedure::text FROM unnest(%s::text[]) AS role, pg_proc p"
        " WHERE has_function_privilege(role, p.oid, 'EXECUTE')"
        " AND (p.proname ~ '^(pg_read_.*file|pg_ls_.*dir|pg_stat_file|lo_import|lo_export|dblink.*)$'"
        " OR p.proname IN ('pg_promote', 'pg_reload_conf', 'pg_switch_wal', 'pg_create_restore_point'))",
        (list(ROLES),),
    ).fetchall()

    assert rows == []
