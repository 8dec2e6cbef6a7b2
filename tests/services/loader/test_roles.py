"""Least privilege of the database roles on facts."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

REFUSED = psycopg.errors.InsufficientPrivilege


@pytest.fixture
def loader_url(roles: Callable[[str], dict[str, str]], empty_url: str) -> str:
    return roles(empty_url)["headrace_loader"]


@pytest.fixture
def reader_url(roles: Callable[[str], dict[str, str]], empty_url: str) -> str:
    return roles(empty_url)["headrace_reader"]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE facts.versions SET revision = 'x'",
        "DELETE FROM facts.versions",
        "TRUNCATE facts.versions",
        "SELECT * FROM notifier.ledger",
        "DROP TABLE facts.parked",
        "CREATE TABLE facts.mine (id int)",
        "UPDATE ops.migrations SET sha256 = ''",
    ],
)
def test_the_loader_may_not(loader_url: str, statement: str) -> None:
    with psycopg.connect(loader_url) as connection, pytest.raises(REFUSED):
        connection.execute(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM facts.events",
        "SELECT * FROM notifier.ledger",
        "SELECT * FROM broker.topics",
        "INSERT INTO facts.sources (name) VALUES ('x')",
        "UPDATE analytics.venues SET name = 'x'",
        "DELETE FROM analytics.entities",
    ],
)
def test_the_reader_may_not(reader_url: str, statement: str) -> None:
    with psycopg.connect(reader_url) as connection:
        connection.execute("SET default_transaction_read_only = off")
        connection.commit()
        with pytest.raises((REFUSED, psycopg.errors.ObjectNotInPrerequisiteState)):
            connection.execute(statement)


def test_the_reader_reads_every_view_and_writes_nothing(reader_url: str) -> None:
    with psycopg.connect(reader_url, autocommit=True) as connection:
        views = connection.execute("SELECT viewname FROM pg_views WHERE schemaname = 'analytics'").fetchall()
        assert len(views) > 20
        for (view,) in views:
            connection.execute(f'SELECT * FROM analytics."{view}" LIMIT 1')
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            connection.execute("CREATE TEMP TABLE mine (id int)")
