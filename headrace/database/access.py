"""Which database this Headrace has, and under whose name each program enters it.

The embedded server has one role per service, each with its own password. Of a database given by URL only one login
is known: every program uses that one, because its roles may be shared with other databases of the same server.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import psycopg
from psycopg.pq import PGconn, Ping

from headrace.database.data_dir import DataDir, write_private
from headrace.database.embedded import DATABASE, OWNER, READER, EmbeddedPostgres
from shared.broker.connect import connect
from shared.broker.contract import Broker
from shared.database.migrations import migrate
from shared.errors import ConfigError, HeadraceError, NotReady, TransientError
from shared.readiness import until_first_use
from shared.retry import Retry
from shared.settings.loading import load
from shared.settings.sections import Database, ServiceSettings, Settings
from shared.topics import DAY_S, SERVICES, TopicSpec, specs

S = TypeVar("S", bound=ServiceSettings)
NOT_PREPARED = "the database holds nothing of Headrace yet: `headrace run` or `headrace migrate` prepares it"
ROLES = (*(f"headrace_{service}" for service in SERVICES), READER)


@dataclass(frozen=True)
class Access:
    """Logins to one database. `server` is the embedded one; without it, `given` says where the database is."""

    server: EmbeddedPostgres | None
    given: Database | None

    def owner(self) -> Database:
        return self._login(OWNER)

    def service(self, service: str) -> Database:
        return self._login(f"headrace_{service}")

    def reader(self) -> Database:
        return self._login(READER)

    def connect(self, application_name: str = "headrace") -> psycopg.Connection[tuple[object, ...]]:
        """An autocommit connection of the owner."""
        return _connect(self.owner().conninfo(application_name))

    def connect_reader(self) -> psycopg.Connection[tuple[object, ...]]:
        """An autocommit connection that may read `analytics` and nothing else."""
        connection = _connect(self.reader().conninfo("headrace sql"))
        if self.given is not None:
            with suppress(psycopg.errors.InsufficientPrivilege):  # then the transaction's own read-only must do
                connection.execute(f'SET ROLE "{READER}"')
        connection.execute("SET default_transaction_read_only = on")
        connection.execute("SET search_path = analytics")
        return connection

    def require(self) -> None:
        """Raises NotReady for a database that is starting, ConfigError for one that cannot be reached."""
        try:
            self.connect().close()
        except ConfigError as error:
            conninfo = self.owner().conninfo("headrace")
            if PGconn.ping(conninfo.encode()) == Ping.REJECT:
                raise NotReady(str(error)) from None
            self.connect().close()  # it may have come up between the two

    def is_up(self) -> bool:
        """Whether the owner gets in: a server that starts for the first time answers before it knows anybody."""
        if self.server is not None and not self.server.answers():
            return False
        try:
            self.connect().close()
        except ConfigError:
            return False
        return True

    def _login(self, role: str) -> Database:
        if self.server is not None:
            password_file = self.server.password_file(role)
            if not password_file.exists():
                raise ConfigError(NOT_PREPARED)
            return Database(url=self.server.url(role), password_file=password_file)
        if self.given is None:
            raise ConfigError("no database: give --database URL, or leave it away for the embedded one")
        return self.given


def access_of(settings: Settings) -> Access:
    if settings.database is not None:
        return Access(None, settings.database)
    return Access(EmbeddedPostgres(settings.data_dir), None)


@contextmanager
def opened(settings: Settings, ready: Retry | None = None) -> Iterator[Access]:
    """The database, up; the embedded server is started, and stopped by whoever used it last.

    `ready`: how to wait for a database that is starting; without it, as long as a command does, and said on stderr.
    """
    access = access_of(settings)
    if access.server is None:
        (ready or until_first_use(notice)).call(access.require)
        yield access
        return
    access.server.start()
    try:
        yield access
    finally:
        access.server.stop()


@contextmanager
def opened_if_made(settings: Settings) -> Iterator[Access]:
    """The same, for commands that only look: they make and prepare none. Raises ConfigError when there is none yet."""
    server = access_of(settings).server
    if server is not None and not (server.pgdata / "PG_VERSION").exists():
        raise ConfigError(f"there is no database in {settings.data_dir} yet; `headrace run` makes one")
    with opened(settings) as access:
        with access.connect() as connection:
            if not connection.execute("SELECT 1 FROM pg_namespace WHERE nspname = 'analytics'").fetchone():
                raise ConfigError(NOT_PREPARED)
        yield access


@contextmanager
def opened_broker(
    access: Access, settings: Settings, application_name: str, ready: Retry | None = None
) -> Iterator[Broker]:
    """The broker that the settings name. Raises HeadraceError that says what to do when it does not answer.

    `ready`: how to wait for one that is not ready yet; without it, as long as a command does, and said on stderr.
    """
    ready = ready or until_first_use(notice)
    broker = connect(settings, access.owner().conninfo(application_name), ready)
    try:
        try:
            broker.health()
        except TransientError as error:
            raise HeadraceError(unreachable(settings, error)) from None
        yield broker
    finally:
        broker.close()


def unreachable(settings: Settings, error: BaseException) -> str:
    """What to do about a broker that does not answer, in one line."""
    address = settings.broker.address
    if address is None:
        return f"the log in the database does not answer: {one_line(error)}"
    return (
        f"no Kafka answers at {address}: is it running there? Start it, name another with"
        f" --broker kafka://HOST:PORT (HEADRACE_BROKER__URL), or go without it: --broker embedded"
        f" ({one_line(error)[:200]})"
    )


def service_settings(
    model: type[S], access: Access, data_dir: Path, config: Path | None, overrides: Mapping[str, Any] | None = None
) -> S:
    """A service's settings as it will see them when it is started here. Raises ConfigError."""
    login = access.service(model.name)
    ours = {"data_dir": data_dir, "database.url": login.url, "database.password_file": login.password_file}
    return load(model, os.environ, config, {**ours, **(overrides or {})})


def prepare(access: Access, settings: Settings, ready: Retry | None = None) -> int:
    """Schema, roles and topics as this version needs them; returns how many migrations were applied.

    The broker is asked first: where it does not answer, nothing is changed.
    """
    with opened_broker(access, settings, "headrace topics", ready) as broker:
        try:
            applied = migrate(access.owner().conninfo("headrace migrate"))
        except psycopg.errors.InsufficientPrivilege as error:
            raise ConfigError(f"the database's user may not do what the migrations need: {one_line(error)}") from error
        if access.server is not None:
            access.server.set_passwords(ROLES)
        broker.ensure_topics(topics_of(settings))
    return applied


def topics_of(settings: Settings) -> list[TopicSpec]:
    return specs(settings.broker.partitions, settings.broker.retention_days * DAY_S)


def uri(access: Access, role: str, data_dir: DataDir) -> str:
    """For psql and every other libpq program; the password stays in a file that the URI names."""
    if access.server is None:
        login = access.owner()
        if login.password_file is None:
            return login.url
        raise ConfigError(
            f"the database is not ours: use {login.url} with the password in {login.password_file}"
        )  # a passfile line needs host and port as libpq will see them, which only the user knows
    server = access.server
    passfile = data_dir.secrets / "pgpass"
    roles = [each for each in (OWNER, READER) if server.password_file(each).exists()]
    # The host of a Unix socket is matched by its directory; a colon or backslash in it is escaped.
    host = str(server.socket_dir).replace("\\", "\\\\").replace(":", "\\:")
    lines = [f"{host}:5432:{DATABASE}:{each}:{server.password_file(each).read_text().strip()}\n" for each in roles]
    write_private(passfile, "".join(lines))
    return f"{server.url(role)}&passfile={quote(str(passfile), safe='')}"


def notice(text: str) -> None:
    """What a command does not end with, but makes its user wait for."""
    sys.stderr.write(f"headrace: {text}\n")


def one_line(text: object) -> str:
    return " ".join(str(text).split())


def _connect(conninfo: str) -> psycopg.Connection[tuple[object, ...]]:
    try:
        return psycopg.connect(conninfo, autocommit=True, connect_timeout=10)
    except psycopg.OperationalError as error:
        raise ConfigError(f"cannot connect to the database: {one_line(error)}") from None
