"""Every login tries to leave its rights: files, programs, other roles, new objects, settings, sequences, functions."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from headrace.database.embedded import EmbeddedPostgres
from shared.database.connection import DbConnection, ReconnectingConnection
from shared.database.migrations import LOCK, migrate
from shared.errors import TransientError
from shared.ops.tables.orders import give_order
from tests.shared.grants.rights import READER, SERVICE_ROLES

ROLES = (*SERVICE_ROLES, READER)
REFUSED = (psycopg.errors.InsufficientPrivilege, psycopg.errors.ReadOnlySqlTransaction)
ATTACKS = (
    "SELECT pg_read_file('PG_VERSION')",
    "SELECT pg_read_binary_file('PG_VERSION')",
    "SELECT pg_ls_dir('.')",
    "SELECT pg_stat_file('PG_VERSION')",
    "SELECT lo_import('/etc/hostname')",
    "SELECT lo_export(1, '/tmp/headrace-attack')",
    "SELECT lo_creat(-1)",
    "SELECT lo_create(0)",
    "SELECT lo_from_bytea(0, 'x')",
    "COPY (SELECT 1) TO PROGRAM 'true'",
    "COPY (SELECT 1) TO '/tmp/headrace-attack'",
    "DO 'BEGIN CREATE TEMP TABLE attack (line text); COPY attack FROM ''/etc/hostname''; END'",
    "DO 'BEGIN CREATE TEMP TABLE attack (line text); COPY attack FROM PROGRAM ''true''; END'",
    "ALTER DATABASE headrace SET statement_timeout = 1",
    "ALTER ROLE headrace_service SET statement_timeout = 1",
    "SET temp_file_limit = -1",
    "SET log_statement = 'none'",
    "LOAD '/tmp/headrace-attack.so'",
    "DROP EXTENSION plpgsql",
    "CREATE SUBSCRIPTION attack CONNECTION 'dbname=x' PUBLICATION attack WITH (connect = false)",
    "CREATE EVENT TRIGGER attack ON ddl_command_end EXECUTE FUNCTION broker.delete_expired()",
    "SELECT pg_replication_origin_create('attack')",
    "SELECT pg_stat_reset()",
    "SELECT pg_log_backend_memory_contexts(pg_backend_pid())",
    "SELECT pg_hba_file_rules()",
    "SELECT * FROM pg_shadow",
    "SELECT * FROM pg_user_mapping",
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
    "LOCK TABLE ops.migrations IN SHARE MODE",
    "LOCK TABLE ops.audit IN SHARE MODE",
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
def test_no_login_ends_or_reads_the_sessions_of_others(login: DbConnection, database: DbConnection) -> None:
    database.execute("SELECT 'a statement of the owner'")
    [(pid,)] = database.execute("SELECT pg_backend_pid()").fetchall()

    for function in ("pg_cancel_backend", "pg_terminate_backend"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            login.execute(f"SELECT {function}({pid})".encode())
    texts = login.execute("SELECT query, client_addr FROM pg_stat_activity WHERE pid = %s", (pid,)).fetchall()

    assert texts == [("<insufficient privilege>", None)]
    assert database.execute("SELECT pg_backend_pid()").fetchall() == [(pid,)]


@pytest.mark.parametrize("login", SERVICE_ROLES, indirect=True)
def test_only_services_with_an_outbox_can_lock_the_log(login: DbConnection) -> None:
    """An exclusive lock of the log stops all services. PostgreSQL grants it with the right to delete."""
    [(name,)] = login.execute("SELECT session_user").fetchall()
    if name in {"headrace_loader", "headrace_notifier"}:
        with login.transaction(force_rollback=True):
            login.execute("LOCK TABLE broker.log")
        return
    with pytest.raises(REFUSED), login.transaction():
        login.execute("LOCK TABLE broker.log")


@pytest.mark.parametrize("login", ["headrace_cleaner"], indirect=True)
def test_no_login_delays_a_migration_by_its_lock(login: DbConnection, database_url: str) -> None:
    """Any login can take any advisory lock. The time-out ends the migration if it waits for one."""
    login.execute("SELECT pg_advisory_lock(%s)", (LOCK,))

    assert migrate(make_conninfo(database_url, options="-c statement_timeout=60s")) == 0


@pytest.mark.parametrize("login", ["headrace_cleaner"], indirect=True)
def test_a_service_waits_for_the_lock_of_another_login_no_longer_than_its_time_out(
    login: DbConnection, database_url: str
) -> None:
    """An advisory lock of another service can be taken. Its owner then fails and tries again; it never hangs."""
    login.execute("SELECT pg_advisory_lock(hashtext('headrace orders'))")
    loader = make_conninfo(database_url, options="-c role=headrace_loader")

    link = ReconnectingConnection(loader, "test", autocommit=True, answer_s=0.5)
    with pytest.raises(TransientError), link.use() as connection:
        give_order(connection, "loader", "clean-events", "paused", "x")
    link.drop()


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
