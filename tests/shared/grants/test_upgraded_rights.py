"""A database that was upgraded step by step has the rights of a new one.

In a new database, all tables exist before the first rights are granted, so that a grant on all tables of a schema
covers more of them than it did when it was written.
"""

from __future__ import annotations

import psycopg

from headrace.database.embedded import EmbeddedPostgres
from shared.database.connection import DbConnection
from shared.database.migrations import Migration, migrate, migrations

# The order in which the migrations were written. Later ones follow it in the order of the areas.
HISTORY = """
broker 1, runtime 1, loader 1, loader 2, notifier 1, grants 1, broker 2, notifier 2, loader 3, grants 2, ops 1,
grants 3, loader 4, ops 2, ops 3, ops 4, loader 5, loader 6, grants 4, ops 5, ops 6, grants 5, ops 7, notifier 3,
grants 6, broker 3, ops 8, notifier 4, runtime 2, notifier 5, notifier 6, grants 7, loader 7, loader 8, grants 8,
grants 9, ops 9, ops 10, grants 10, grants 11, fetcher 1, grants 12, ops 11, broker 4, grants 13, grants 14,
notifier 7, grants 15"""
SCHEMAS = ["broker", "ops", "facts", "analytics", "notifier", "fetcher"]
RIGHTS = """
SELECT c.oid::regclass::text, c.relrowsecurity::text, a.grantee::regrole::text, a.privilege_type
FROM pg_class c CROSS JOIN aclexplode(c.relacl) a WHERE c.relnamespace::regnamespace::text = ANY(%(schemas)s)
UNION ALL
SELECT c.attrelid::regclass::text || '.' || c.attname, '', a.grantee::regrole::text, a.privilege_type
FROM pg_attribute c JOIN pg_class t ON t.oid = c.attrelid CROSS JOIN aclexplode(c.attacl) a
WHERE t.relnamespace::regnamespace::text = ANY(%(schemas)s)
UNION ALL
SELECT p.oid::regprocedure::text, p.prosecdef::text, a.grantee::regrole::text, a.privilege_type
FROM pg_proc p CROSS JOIN aclexplode(p.proacl) a WHERE p.pronamespace::regnamespace::text = ANY(%(schemas)s)
UNION ALL
SELECT polrelid::regclass::text || ' ' || polname, polcmd::text, pg_get_expr(polqual, polrelid),
       pg_get_expr(polwithcheck, polrelid)
FROM pg_policy"""


def test_an_upgraded_database_has_the_rights_of_a_new_one(postgres: EmbeddedPostgres, database: DbConnection) -> None:
    with psycopg.connect(postgres.url_with_password(database="postgres"), autocommit=True) as admin:
        admin.execute("CREATE DATABASE upgraded")
        try:
            url = postgres.url_with_password(database="upgraded")
            assert migrate(url, in_historical_order()) == len(migrations())
            with psycopg.connect(url) as upgraded:
                assert rights(upgraded) == rights(database)
        finally:
            admin.execute("DROP DATABASE upgraded WITH (FORCE)")


def in_historical_order() -> list[Migration]:
    places = [tuple(each.split()) for each in HISTORY.split(",")]
    by_place = {(each.area.rpartition("/")[2], str(each.number)): each for each in migrations()}
    return [by_place.pop((area, number)) for area, number in places] + list(by_place.values())


def rights(connection: DbConnection) -> set[tuple[object, ...]]:
    rows = set(connection.execute(RIGHTS, {"schemas": SCHEMAS}).fetchall())
    assert len(rows) > 300
    return rows
