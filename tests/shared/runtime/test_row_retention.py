"""A database after years of use: one round deletes what is old, in bounded statements, by the services' own roles."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import closing
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from shared.broker.postgres.broker import PostgresBroker
from shared.ops.retention import AgedRows, gate_rows, message_rows, operation_rows
from shared.ops.tables.retention import delete_expired, overdue_s
from shared.runtime.metrics import Metrics
from shared.runtime.row_retention import RowRetention
from shared.settings.sections import RetentionSettings
from shared.topics import topic_specs

Database = psycopg.Connection[tuple[Any, ...]]
SETTINGS = RetentionSettings()
YEAR = timedelta(days=365)
ROLES = {
    "headrace_loader": operation_rows(SETTINGS),
    "headrace_notifier": message_rows(SETTINGS),
    "headrace_fetcher": gate_rows(SETTINGS),
}
# Rows of two years, one for each day; `d` is how many days ago.
FILL = """
INSERT INTO ops.operations (id, service, kind, state, target, requested_by, request_id, finished_at)
    SELECT lpad(d::text, 12, '0'), 's', 'k', 'succeeded', '{}', 'w', 'r', now() - d * interval '1 day' FROM days;
INSERT INTO ops.operations (id, service, kind, state, target, requested_by, request_id, created_at)
    VALUES ('open', 's', 'k', 'running', '{}', 'w', 'r', now() - interval '3 years');
INSERT INTO broker.cursors (topic_id, key, value)
    SELECT t.id, lpad(d::text, 12, '0'), '' FROM days, broker.topics t WHERE t.compacted;
INSERT INTO broker.cursors (topic_id, key, value)
    SELECT id, 'open', '' FROM broker.topics WHERE name = 'replay-cursors';
INSERT INTO broker.slots SELECT 'job-' || lpad(d::text, 12, '0'), 1 FROM days;
INSERT INTO broker.slots VALUES ('job-open', 1), ('cleaner-0', 7);
INSERT INTO broker.members SELECT 'g', 'm' || d, gen_random_uuid(), now() - d * interval '1 day' FROM days;
INSERT INTO broker.leases SELECT 'g' || d, t.id, 0, 'o', gen_random_uuid(), now() - d * interval '1 day'
    FROM days, broker.topics t WHERE t.name = 'raw-events';
INSERT INTO ops.replicas (service, replica, pid, admin_url, state, ready, started_at, seen_at)
    SELECT 's', 'r' || d, 1, 'u', 'stopped', false, now(), now() - d * interval '1 day' FROM days;
INSERT INTO ops.observed (service, replica, topic, p, state, seq, seen_at)
    SELECT 's', 'gone' || d, 't', 0, 'running', 1, now() - d * interval '1 day' FROM days;
INSERT INTO ops.observed (service, replica, topic, p, state, seq, seen_at)
    VALUES ('s', 'r0', 't', 0, 'running', 1, now() - interval '2 years');
INSERT INTO ops.slots SELECT 's', 'x' || d, 'h', gen_random_uuid(), '{}', now() - d * interval '1 day' FROM days;
INSERT INTO ops.dead_letters_settled
    SELECT 's', 0, d, 'discarded', '1', NULL, 'w', now() - d * interval '1 day' FROM days;
INSERT INTO facts.dead_letters
    SELECT 's', gen_random_uuid(), 't', 0, d, 'k', 'e', 'm', 1, now() - d * interval '1 day' FROM days;
INSERT INTO notifier.ledger (record_id, rule, channel, event_key, text, state, created_at, due_at)
    SELECT gen_random_uuid(), 'r', 'c', 'e', 't', state, now() - d * interval '1 day', now()
    FROM days, unnest(ARRAY['sent', 'unknown', 'pending']) AS state;
INSERT INTO notifier.incidents (rule, kind, subject, severity, detail, resolved_at)
    SELECT 'r', 'k', d::text, 'warning', '{}', now() - d * interval '1 day' FROM days;
INSERT INTO notifier.incidents (rule, kind, subject, severity, detail, opened_at)
    VALUES ('r', 'k', 'open', 'warning', '{}', now() - interval '3 years');
INSERT INTO notifier.mutes (rule, until, by) SELECT 'r', now() - d * interval '1 day', 'w' FROM days;
INSERT INTO fetcher.gates SELECT 'h' || d, 1, '{}', now() - d * interval '1 day' FROM days;
"""
KEPT_DAYS = {"broker.cursors": 7, "broker.slots": 7, "broker.members": 7, "broker.leases": 7, "ops.replicas": 7}
KEPT_DAYS |= {"ops.observed": 7, "ops.slots": 7}
# Rows that stay whatever their age: open ones, and those of other kinds.
STAYING = {"broker.cursors": 731 + 1, "broker.slots": 2, "ops.operations": 1, "notifier.ledger": 2 * 731}
STAYING |= {"notifier.incidents": 1, "ops.observed": 1}


@pytest.fixture
def aged(database: Database, database_url: str) -> Database:
    with closing(PostgresBroker(database_url)) as broker:
        broker.ensure_topics(topic_specs())
    database.execute("CREATE TEMP TABLE days AS SELECT generate_series(0, 730) AS d")
    for statement in FILL.split(";\n"):
        if statement.strip():
            database.execute(statement.encode())
    return database


def count(database: Database, table: str) -> int:
    row = database.execute(f"SELECT count(*) FROM {table}".encode()).fetchone()
    assert row is not None
    return int(row[0])


def role_url(url: str, role: str) -> str:
    return make_conninfo(url, options=f"-c role={role}")


def test_one_round_leaves_what_is_young_or_open(aged: Database, database_url: str) -> None:
    metrics = Metrics()
    for role, rows in ROLES.items():
        with closing(RowRetention(role_url(database_url, role), role, rows, metrics)) as retention:
            retention.run_round(threading.Event(), limit=100)

    for table in (each.table for group in ROLES.values() for each in group):
        days = KEPT_DAYS.get(table, 400)
        assert count(aged, table) == days + STAYING.get(table, 0), table
        assert metrics.registry.get_sample_value("headrace_retention_lag_seconds", {"what": table}) == 0, table


@pytest.mark.parametrize("rows", [each for group in ROLES.values() for each in group], ids=lambda rows: rows.table)
def test_a_statement_is_bounded_and_what_is_left_is_overdue(aged: Database, rows: AgedRows) -> None:
    before = count(aged, rows.table)
    overdue_before = overdue_s(aged, rows)

    assert delete_expired(aged, rows, limit=10) == 10

    assert count(aged, rows.table) == before - 10
    assert overdue_before > 300 * 24 * 3600
    assert overdue_s(aged, rows) > 0


def test_a_table_that_cannot_be_cleaned_does_not_keep_the_others(aged: Database, database_url: str) -> None:
    rows: Sequence[AgedRows] = [AgedRows("ops.audit", "at", YEAR), *gate_rows(SETTINGS)]

    with closing(RowRetention(role_url(database_url, "headrace_fetcher"), "fetcher", rows, Metrics())) as retention:
        retention.run_round(threading.Event())

    assert count(aged, "fetcher.gates") == 400
