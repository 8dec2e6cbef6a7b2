"""Migration of stored responses that are older than the column with their service."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb

from headrace.database.embedded import EmbeddedPostgres
from shared.database.migrations import Migration, migrate, migrations
from shared.ops.tables import idempotency as idempotency_table
from shared.topics import SERVICES

CREATED_AT = datetime.now(UTC) - timedelta(hours=1)


def _is_older(migration: Migration) -> bool:
    """Later grants are about tables of later migrations."""
    return migration.area not in {"shared/ops", "shared/grants"} or migration.number < 5


@pytest.fixture
def older_url(postgres: EmbeddedPostgres) -> Iterator[str]:
    """A database from before idempotency keys belonged to a service."""
    name = f"test_{uuid4().hex}"
    with psycopg.connect(postgres.url_with_password(database="postgres"), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
        try:
            url = postgres.url_with_password(database=name)
            migrate(url, [each for each in migrations() if _is_older(each)])
            yield url
        finally:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def insert_older_row(url: str, key: str, body: object) -> None:
    with psycopg.connect(url) as connection:
        connection.execute(
            "INSERT INTO ops.idempotency (subject, key, request_digest, status, headers, body, created_at)"
            " VALUES ('alice', %s, %s, 202, '{}', %s, %s)",
            (key, b"digest", Jsonb(body), CREATED_AT),
        )


def services_with_key(url: str, key: str) -> set[str]:
    with psycopg.connect(url) as connection:
        return {each for each in SERVICES if idempotency_table.find(connection, each, "alice", key)}


def test_a_response_that_names_a_service_belongs_to_that_service(older_url: str) -> None:
    insert_older_row(older_url, "k", {"id": "000000000017", "service": "cleaner"})

    migrate(older_url)

    assert services_with_key(older_url, "k") == {"cleaner"}


def test_a_response_that_names_no_service_belongs_to_every_service(older_url: str) -> None:
    insert_older_row(older_url, "plan", {"plan_id": "7"})
    insert_older_row(older_url, "list", ["not an object"])

    migrate(older_url)

    assert services_with_key(older_url, "plan") == services_with_key(older_url, "list") == set(SERVICES)


def test_an_older_response_keeps_its_expiry(older_url: str) -> None:
    insert_older_row(older_url, "k", {"service": "loader"})
    insert_older_row(older_url, "plan", {"plan_id": "7"})

    migrate(older_url)

    with psycopg.connect(older_url) as connection:
        assert {at for (at,) in connection.execute("SELECT created_at FROM ops.idempotency")} == {CREATED_AT}
