"""Migrations by a login that is no superuser, as on a managed server; who may then connect."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from headrace.database.access import ROLES
from headrace.database.embedded import EmbeddedPostgres
from shared.database.migrations import migrate


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A server of its own: roles belong to the whole server."""
    server = EmbeddedPostgres(tmp_path_factory.mktemp("foreign"))
    server.start()
    try:
        with psycopg.connect(server.url_with_password(database="postgres"), autocommit=True) as admin:
            admin.execute("CREATE ROLE migrator LOGIN CREATEROLE PASSWORD 'x'")
            admin.execute("CREATE ROLE stranger LOGIN PASSWORD 'x'")
            admin.execute("CREATE DATABASE managed OWNER migrator")
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="module")
def owner_url(server: EmbeddedPostgres) -> str:
    url = server.url("migrator", "managed").replace("migrator@", "migrator:x@")
    assert migrate(url) > 0
    return url


def test_an_owner_without_superuser_rights_migrates_and_reads_as_the_reader(owner_url: str) -> None:
    with psycopg.connect(owner_url, autocommit=True) as owner:
        owner.execute("SET ROLE headrace_reader")

        assert owner.execute("SELECT n FROM analytics.read_rows('SELECT 1') AS t (n int)").fetchall() == [(1,)]
        assert owner.execute("SELECT has_schema_privilege('analytics', 'CREATE')").fetchone() == (False,)


def test_only_the_roles_of_headrace_connect_and_only_the_loader_makes_temporary_tables(
    owner_url: str, server: EmbeddedPostgres
) -> None:
    with psycopg.connect(owner_url) as owner:
        rights = owner.execute(
            "SELECT rolname, has_database_privilege(rolname, 'managed', 'CONNECT'),"
            " has_database_privilege(rolname, 'managed', 'TEMPORARY'),"
            " has_database_privilege(rolname, 'managed', 'CREATE') FROM pg_roles WHERE rolname = ANY(%s)",
            ([*ROLES, "stranger"],),
        ).fetchall()

    assert {name: rest for name, *rest in rights} == {
        **{role: [True, role == "headrace_loader", False] for role in ROLES},
        "stranger": [False, False, False],
    }
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        psycopg.connect(server.url("stranger", "managed").replace("stranger@", "stranger:x@"))


def test_names_without_a_schema_are_postgresqls_own(owner_url: str) -> None:
    with psycopg.connect(owner_url) as owner:
        paths = owner.execute(
            "SELECT rolname, rolconfig FROM pg_roles WHERE rolname LIKE 'headrace\\_%' AND rolcanlogin"
        ).fetchall()

    assert {name: [each for each in config or [] if each.startswith("search_path")] for name, config in paths} == {
        role: ["search_path=analytics, pg_catalog" if role == "headrace_reader" else "search_path=pg_catalog"]
        for role in ROLES
    } | {name: [] for name, _ in paths if name not in ROLES}
