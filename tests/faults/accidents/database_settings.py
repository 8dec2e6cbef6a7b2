"""Changes settings, limits and sessions of the running PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg

from headrace.database.access import Access
from headrace.database.embedded import READER, EmbeddedPostgres

Admin = psycopg.Connection[Any]
# Room for two replicas of each service and their APIs, and for what others take.
MAX_CONNECTIONS, RESERVED_CONNECTIONS = 200, 10
# Also for the locks that the statement waits for.
STATEMENT_LIMIT_S = 60.0
# Of the sessions of services; those of the suite are the owner's.
_END_SERVICES = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend'"
    " AND usename LIKE 'headrace%' AND usename NOT IN ('headrace_owner', 'headrace_reader')"
)
_SLOW = """
CREATE FUNCTION public.slow_insert() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN PERFORM pg_sleep({seconds}); RETURN NEW; END $$;
CREATE TRIGGER slow BEFORE INSERT ON facts.versions FOR EACH ROW EXECUTE FUNCTION public.slow_insert()"""


@contextmanager
def admin(access: Access) -> Iterator[Admin]:
    """The owner may write even while the database is read-only, and has connections of its own."""
    with access.connect("headrace faults admin") as connection:
        connection.execute("SET default_transaction_read_only = off")
        connection.execute(f"SET statement_timeout = '{STATEMENT_LIMIT_S:g}s'")
        yield connection


def limit_connections(access: Access, most: int = MAX_CONNECTIONS) -> None:
    """Takes effect at the next start."""
    with admin(access) as connection:
        connection.execute(f"ALTER SYSTEM SET max_connections = {most}")
        connection.execute(f"ALTER SYSTEM SET superuser_reserved_connections = {RESERVED_CONNECTIONS}")


def limit_wal(access: Access) -> None:
    """So that the WAL fits on a small disk."""
    with admin(access) as connection:
        connection.execute("ALTER SYSTEM SET max_wal_size = '192MB'")
        connection.execute("SELECT pg_reload_conf()")


def set_read_only(access: Access, read_only: bool) -> None:
    """For all sessions: those that exist are ended."""
    with admin(access) as connection:
        connection.execute(f"ALTER SYSTEM SET default_transaction_read_only = {'on' if read_only else 'off'}")
        connection.execute("SELECT pg_reload_conf()")
        connection.execute(_END_SERVICES)


def slow_down_inserts(access: Access, seconds: float) -> None:
    """Each new version of a fact takes this long."""
    with admin(access) as connection:
        connection.execute(_SLOW.format(seconds=seconds))


def end_slow_inserts(access: Access) -> None:
    with admin(access) as connection:
        connection.execute("DROP FUNCTION public.slow_insert() CASCADE")


def has_services(connection: Admin) -> bool:
    """Whether a service has a session."""
    row = connection.execute(_END_SERVICES.replace("pg_terminate_backend(pid)", "count(*)")).fetchone()
    return row is None or row[0] > 0


class ConnectionHog:
    """Takes every connection that another program may use. It has the rights of a reader."""

    def __init__(self, access: Access, server: EmbeddedPostgres) -> None:
        self._admin: Admin = access.connect("headrace faults admin")
        self._url = server.url_with_password(READER)
        self._taken: list[Admin] = []

    def take_all(self) -> bool:
        """End the sessions of the services and take the connections that are free. Returns whether no service has
        one."""
        self._admin.execute(_END_SERVICES)
        with suppress(psycopg.OperationalError):
            while len(self._taken) < MAX_CONNECTIONS:
                self._taken.append(psycopg.connect(self._url, application_name="others", connect_timeout=5))
        return not has_services(self._admin)

    def release(self) -> None:
        for each in self._taken:
            each.close()
        self._taken.clear()
        self._admin.close()
