"""Every login tries every kind of change on every table, with its own rows and those of the other services."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import pytest
from psycopg import sql

from headrace.database.access import topics_of
from headrace.database.embedded import EmbeddedPostgres
from shared.broker.postgres.broker import PostgresBroker
from shared.broker.postgres.retention import overdue
from shared.database.connection import DbConnection
from shared.settings.sections import Settings
from shared.topics import JOB_CURSORS, OUTBOX_TOPICS, SERVICES, WRITES, TopicSpec, dead_letter_topic, retry_topic
from tests.shared.generated import compare
from tests.shared.grants.rights import READER, SERVICE_ROLES, VERBS, expected, is_decided, markdown

REFUSED = psycopg.errors.InsufficientPrivilege
ROLES = (*SERVICE_ROLES, READER)
# One row for each service, so that what it may do with its own and with those of the others can be told apart.
TOPIC = "(SELECT id FROM broker.topics WHERE name = %(topic)s)"
SEEDS = {
    "broker.log": f"INSERT INTO broker.log VALUES ({TOPIC}, 0, 0, 1, 0, 0, '')",
    "broker.positions": f"INSERT INTO broker.positions VALUES (%(service)s, {TOPIC}, 0)",
    "broker.leases": f"INSERT INTO broker.leases VALUES (%(service)s, {TOPIC}, 0, 'x', gen_random_uuid(), now())",
    "broker.members": "INSERT INTO broker.members VALUES (%(service)s, 'x', gen_random_uuid(), now())",
    "broker.slots": "INSERT INTO broker.slots VALUES (%(service)s || '-0', 1)",
    "ops.operations": "INSERT INTO ops.operations (id, service, kind, state, target, requested_by, request_id)"
    " VALUES (%(service)s, %(service)s, 'x', 'waiting', '{}', 'x', 'x')",
    "broker.cursors": "INSERT INTO broker.cursors VALUES"
    f" ((SELECT id FROM broker.topics WHERE name = '{JOB_CURSORS}'), %(service)s, '')",
    "ops.replicas": "INSERT INTO ops.replicas (service, replica, pid, admin_url, state, ready, started_at, seen_at)"
    " VALUES (%(service)s, 'x', 1, 'x', 'x', true, now(), now())",
    "ops.orders": "INSERT INTO ops.orders (service, topic, desired, ordered_by)"
    " VALUES (%(service)s, 'x', 'paused', 'x')",
    "ops.observed": "INSERT INTO ops.observed (service, replica, topic, p, state, seq)"
    " VALUES (%(service)s, 'x', 'x', 0, 'paused', 1)",
    "ops.plans": "INSERT INTO ops.plans (service, kind, plan) VALUES (%(service)s, 'x', '{}')",
    "ops.dead_letters_settled": "INSERT INTO ops.dead_letters_settled"
    " (service, p, off, outcome, operation_id, settled_by) VALUES (%(service)s, 0, 0, 'discarded', 'x', 'x')",
    "ops.audit": "INSERT INTO ops.audit (service, who, action, target, outcome, request_id)"
    " VALUES (%(service)s, 'x', 'x', 'x', 'x', 'x')",
    "ops.idempotency": "INSERT INTO ops.idempotency (service, subject, key, request_digest, status, headers, body)"
    " VALUES (%(service)s, 'x', 'x', '', 200, '{}', '{}')",
    "ops.slots": "INSERT INTO ops.slots VALUES (%(service)s, 'x', 'x', gen_random_uuid(), '{}', now())",
    "ops.lag_history": "INSERT INTO ops.lag_history VALUES (now(), %(service)s, 'x', 0, 0, 0)",
    "broker.checkpoints": "INSERT INTO broker.checkpoints VALUES (%(service)s, 'x', 0, 0, gen_random_uuid())",
    "broker.losses": "INSERT INTO broker.losses (grp, topic, p, kind, position, kafka_id, continue_at, records)"
    " VALUES (%(service)s, 'x', 0, 'removed', 0, gen_random_uuid(), 0, 0)",
    "ops.holds": "INSERT INTO ops.holds VALUES (%(service)s, 'x', 0, 'breaker', '{}', 0, now())",
    "ops.attempts": "INSERT INTO ops.attempts VALUES (%(service)s, 'x', 0, gen_random_uuid())",
}
# The rows of these tables are those that the topics have.
OF_TOPICS = {
    "broker.topics": "SELECT ctid FROM broker.topics WHERE name = %(topic)s",
    "broker.partitions": f"SELECT ctid FROM broker.partitions WHERE topic_id = {TOPIC} AND p = 0",
}
# Errors of constraints come after those of rights, so they count as allowed.
TRY = """
CREATE FUNCTION pg_temp.is_allowed(role text, statement text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    changed integer;
BEGIN
    EXECUTE format('SET LOCAL ROLE %I', role);
    EXECUTE statement;
    GET DIAGNOSTICS changed = ROW_COUNT;
    RAISE EXCEPTION USING ERRCODE = 'HR001', MESSAGE = (changed > 0 OR statement !~ 'WHERE ctid')::text;
EXCEPTION
    WHEN insufficient_privilege OR object_not_in_prerequisite_state OR wrong_object_type THEN RETURN false;
    WHEN integrity_constraint_violation THEN RETURN true;
    WHEN SQLSTATE 'HR001' THEN RETURN SQLERRM::boolean;
END
$$
"""


class _Attempt(NamedTuple):
    """`service`: whose row it changes; `any` where rows belong to no service."""

    role: str
    verb: str
    table: str
    service: str
    statement: str


@pytest.fixture(scope="module")
def seeded(postgres: EmbeddedPostgres) -> Iterator[tuple[DbConnection, dict[str, dict[str, Any]]]]:
    """A superuser's connection in a transaction that is rolled back, and the row of each service in each table."""
    with psycopg.connect(postgres.url_with_password(database="postgres"), autocommit=True) as admin:
        admin.execute("CREATE DATABASE rights TEMPLATE headrace STRATEGY wal_log")
        try:
            url = postgres.url_with_password(database="rights")
            local = [TopicSpec(f"kafka:{dead_letter_topic(service)}", 1) for service in SERVICES]
            with closing(PostgresBroker(url)) as broker:
                broker.ensure_topics([*topics_of(Settings()), *local])
            with psycopg.connect(url) as connection:
                rows = {table: _rows_of(connection, table) for table in (*SEEDS, *OF_TOPICS)}
                yield connection, rows
                connection.rollback()
        finally:
            admin.execute("DROP DATABASE rights WITH (FORCE)")


def test_every_login_may_change_exactly_what_the_table_says(
    seeded: tuple[DbConnection, dict[str, dict[str, Any]]],
) -> None:
    connection, rows = seeded
    tables = _tables(connection)
    attempts = [
        _Attempt(role, verb, table, service, statement)
        for table in tables
        for verb in VERBS
        for service, statement in _statements(connection, verb, table, rows.get(table))
        for role in ROLES
    ]
    allowed = {
        each[:4] for each, is_allowed in zip(attempts, _try_all(connection, attempts), strict=True) if is_allowed
    }

    wanted = {each[:4] for each in attempts if each.service in _expected(each, rows)}
    assert [table for table in tables if not is_decided(table)] == []
    assert len(tables) > 60
    assert sorted(allowed - wanted) == []
    assert sorted(wanted - allowed) == []


def test_the_relay_deletes_from_the_local_topics_that_it_copies(
    seeded: tuple[DbConnection, dict[str, dict[str, Any]]],
) -> None:
    connection, _ = seeded
    with connection.transaction(force_rollback=True):
        connection.execute(
            "INSERT INTO broker.log SELECT id, 0, 7, 1, 0, 0, '' FROM broker.topics WHERE starts_with(name, 'kafka:')"
        )
        deleted = {}
        for role in SERVICE_ROLES:
            with suppress(REFUSED), connection.transaction(force_rollback=True):
                connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(role)))
                deleted[role.removeprefix("headrace_")] = sorted(
                    name
                    for (name,) in connection.execute(
                        "DELETE FROM broker.log l USING broker.topics t WHERE t.id = l.topic_id RETURNING t.name"
                    ).fetchall()
                )

    relayed = ["kafka:loader.dlq", "kafka:notifier.dlq"]
    assert deleted == {"loader": relayed, "notifier": relayed}


def test_no_service_writes_a_line_of_the_trail_for_the_command_line(
    seeded: tuple[DbConnection, dict[str, dict[str, Any]]],
) -> None:
    connection, _ = seeded
    line = (
        "INSERT INTO ops.audit (service, who, action, target, outcome, request_id) VALUES (%s, %s, 'x', 'x', 'x', 'x')"
    )
    for service in SERVICES:
        with connection.transaction(force_rollback=True):
            connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(f"headrace_{service}")))
            connection.execute(line, (service, "token:x"))
            with pytest.raises(REFUSED):
                connection.execute(line, (service, "command:root"))


def test_the_topics_of_each_service_are_those_of_the_code(database: DbConnection) -> None:
    rows = database.execute("SELECT service, topic, appends, relays FROM broker.topic_rights").fetchall()

    cursors = {"fetcher": ("fetcher-cursors",)}
    assert {(service, topic) for service, topic, appends, _ in rows if appends} == {
        (service, prefix + topic)
        for service in SERVICES
        for topic in (*WRITES[service], dead_letter_topic(service), retry_topic(service), *cursors.get(service, ()))
        for prefix in ("", "kafka:")
    }
    assert {(service, topic) for service, topic, _, relays in rows if relays} == {
        (service, f"kafka:{topic}") for service in ("loader", "notifier") for topic in OUTBOX_TOPICS
    }


def test_no_login_runs_a_function_with_other_rights_than_retention(database: DbConnection) -> None:
    definers = database.execute(
        "SELECT p.oid::regprocedure::text FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace"
        " WHERE prosecdef AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'analytics') ORDER BY 1"
    ).fetchall()

    assert definers == [
        ("broker.delete_expired(integer,integer,bigint,bigint)",),
        ("broker.drop_segment(bigint,bigint)",),
        ("broker.newest_segment()",),
        ("broker.open_segment()",),
        ("facts.keep_referenced_entities()",),
        ("facts.keep_referenced_events()",),
        ("ops.prepare_audit()",),
    ]
    for call in (
        "broker.delete_expired(1, 0, 1, 1)",
        "broker.drop_segment(1, 1)",
        "broker.newest_segment()",
        "broker.open_segment()",
        "ops.prepare_audit()",
    ):
        with pytest.raises(REFUSED), database.transaction():
            database.execute(f"SET LOCAL ROLE headrace_reader; SELECT {call}".encode())


@pytest.mark.parametrize("service", SERVICES)
def test_each_service_measures_what_retention_should_have_removed(database: DbConnection, service: str) -> None:
    database.execute(f"SET ROLE headrace_{service}")

    assert overdue(database) == []


def test_the_document_has_the_table(repository: Path) -> None:
    compare(repository / "docs" / "security.md", "rights", markdown())


def _tables(connection: DbConnection) -> list[str]:
    return [
        f"{schema}.{name}"
        for schema, name in connection.execute(
            "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname NOT LIKE 'pg\\_%'"
            " AND n.nspname <> 'information_schema' ORDER BY 1, 2"
        ).fetchall()
    ]


def _rows_of(connection: DbConnection, table: str) -> dict[str, Any]:
    """The ctid of the row of each service."""
    return {
        service: connection.execute(
            f"{SEEDS[table]} RETURNING ctid::text"
            if table in SEEDS
            else OF_TOPICS[table].replace("ctid", "ctid::text"),
            {"service": service, "topic": _topic_of(table, service)},
        ).fetchone()[0]  # type: ignore[index]  # every statement gives a row
        for service in SERVICES
    }


def _topic_of(table: str, service: str) -> str:
    return f"kafka:{dead_letter_topic(service)}" if table == "broker.topics" else dead_letter_topic(service)


def _statements(
    connection: DbConnection, verb: str, table: str, rows: dict[str, Any] | None
) -> Iterator[tuple[str, str]]:
    """Changes of the row of each service, or of `any`. An update is tried for each column: rights may be for one."""
    if verb == "truncate":
        yield "any", f"TRUNCATE {table} CASCADE"
        return
    for service, ctid in (rows or {"any": None}).items():
        where = "" if ctid is None else f" WHERE ctid = '{ctid}'"
        match verb:
            case "insert" if ctid is None:
                yield service, f"INSERT INTO {table} DEFAULT VALUES"
            case "insert":
                yield service, f"INSERT INTO {table} OVERRIDING SYSTEM VALUE SELECT * FROM {table}{where}"
            case "update":
                for name in _columns(connection, table):
                    yield service, f'UPDATE {table} SET "{name}" = "{name}"{where}'
            case _:
                yield service, f"DELETE FROM {table}{where}"


def _columns(connection: DbConnection, table: str) -> list[str]:
    return [
        name
        for (name,) in connection.execute(
            "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped"
            " AND attgenerated = '' AND attidentity = ''",
            (table,),
        ).fetchall()
    ]


def _try_all(connection: DbConnection, attempts: Sequence[_Attempt]) -> list[bool]:
    """Whether each attempt changes something. The server tries them: a round trip for each would take minutes."""
    connection.execute(TRY)
    roles, statements = zip(*((each.role, each.statement) for each in attempts), strict=True)
    rows = connection.execute(
        "SELECT pg_temp.is_allowed(role, statement) FROM unnest(%s::text[], %s::text[])"
        " WITH ORDINALITY AS attempt (role, statement, number) ORDER BY number",
        (list(roles), list(statements)),
    ).fetchall()
    return [row[0] for row in rows]


def _expected(attempt: _Attempt, rows: dict[str, dict[str, Any]]) -> set[str]:
    """The services whose rows the role may change like that."""
    words = expected(attempt.table, attempt.role)
    own = attempt.role.removeprefix("headrace_")
    match words.get(attempt.verb):
        case None:
            return set()
        case "any":
            return {"any", *SERVICES}
        case "relayed" | "expired" if attempt.verb == "delete":
            return set()
    return {own}
