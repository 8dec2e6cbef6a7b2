"""Opens the database and the broker that the settings name, and provides the login of each program.

The embedded server has one role per service, each with its own password. For a database given by URL, every program
uses the login of the URL: roles belong to the whole server, and other databases there may use the same ones.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote

import psycopg
from psycopg.pq import PGconn, Ping

from headrace.database.broker_kind import require_same_kind
from headrace.database.data_dir import DataDir, write_private
from headrace.database.embedded import DATABASE, OWNER, READER, EmbeddedPostgres
from headrace.database.interrupted_restore import require_no_interrupted_restore
from headrace.database.offsets_retention import warning_of_offsets_retention
from headrace.database.partial_rates import warning_of_partial_rates
from headrace.shown import shown
from shared.broker.connect import connect
from shared.broker.contract import Broker
from shared.database.migrations import migrate
from shared.errors import ConfigError, HeadraceError, NotReady, TransientError
from shared.readiness import retry_until_first_use
from shared.retry import Retry
from shared.settings.loading import load
from shared.settings.sections import DatabaseSettings, ServiceSettings, Settings
from shared.topics import DAY_S, SERVICES, TopicSpec, topic_specs

S = TypeVar("S", bound=ServiceSettings)
NOT_PREPARED = "the database is not prepared for Headrace yet: `headrace run` or `headrace migrate` prepares it"
ROLES = (*(f"headrace_{service}" for service in SERVICES), READER)


@dataclass(frozen=True)
class Access:
    """Logins to one database: of the embedded `server`, or of an `external` database given by URL."""

    server: EmbeddedPostgres | None
    external: DatabaseSettings | None

    def owner(self) -> DatabaseSettings:
        return self._login(OWNER)

    def service(self, service: str) -> DatabaseSettings:
        return self._login(f"headrace_{service}")

    def reader(self) -> DatabaseSettings:
        return self._login(READER)

    def connect(self, application_name: str = "headrace") -> psycopg.Connection[tuple[object, ...]]:
        """An autocommit connection as the owner."""
        return _connect(self.owner().conninfo(application_name))

    def connect_reader(self) -> psycopg.Connection[tuple[object, ...]]:
        """An autocommit connection that can only read the schema `analytics`."""
        connection = _connect(self.reader().conninfo("headrace sql"))
        if self.external is not None:
            # Without this privilege, only default_transaction_read_only prevents writes.
            with suppress(psycopg.errors.InsufficientPrivilege):
                connection.execute(f'SET ROLE "{READER}"')
        connection.execute("SET default_transaction_read_only = on")
        connection.execute("SET search_path = analytics")
        return connection

    def require(self) -> None:
        """Raises NotReady if the database is starting, ConfigError if it cannot be reached."""
        try:
            self.connect().close()
        except ConfigError as error:
            conninfo = self.owner().conninfo("headrace")
            if PGconn.ping(conninfo.encode()) == Ping.REJECT:
                raise NotReady(str(error)) from None
            self.connect().close()  # the database may have come up after the first attempt

    def is_up(self) -> bool:
        """Whether the owner can log in. On its first start, a server answers before its roles and database exist."""
        if self.server is not None and not self.server.accepts_connections():
            return False
        try:
            self.connect().close()
        except ConfigError:
            return False
        return True

    def _login(self, role: str) -> DatabaseSettings:
        if self.server is not None:
            password_file = self.server.password_file(role)
            if not password_file.exists():
                raise ConfigError(NOT_PREPARED)
            return DatabaseSettings(url=self.server.url(role), password_file=password_file)
        if self.external is None:
            raise ConfigError("no database: expected --database URL, or no --database for the embedded server")
        return self.external


def access_of(settings: Settings) -> Access:
    if settings.database is not None:
        return Access(None, settings.database)
    return Access(EmbeddedPostgres(settings.data_dir), None)


@contextmanager
def open_database(settings: Settings, ready: Retry | None = None) -> Iterator[Access]:
    """The database, ready for use. Starts the embedded server; its last user stops it.

    `ready`: how to wait for a database that is starting. By default, wait up to a minute (readiness.FIRST_USE_S) and
    report it on stderr.
    """
    access = access_of(settings)
    if access.server is None:
        (ready or retry_until_first_use(print_notice)).call(access.require)
        yield access
        return
    access.server.start()
    try:
        yield access
    finally:
        access.server.stop()


@contextmanager
def open_existing_database(settings: Settings) -> Iterator[Access]:
    """A prepared database, for commands that do not create one. Raises ConfigError if it is missing or not prepared."""
    server = access_of(settings).server
    if server is not None and not server.exists():
        raise ConfigError(f"there is no database in {settings.data_dir} yet; `headrace run` makes one")
    with open_database(settings) as access:
        with access.connect() as connection:
            if not connection.execute("SELECT 1 FROM pg_namespace WHERE nspname = 'analytics'").fetchone():
                raise ConfigError(NOT_PREPARED)
        yield access


@contextmanager
def open_broker(
    access: Access, settings: Settings, application_name: str, ready: Retry | None = None
) -> Iterator[Broker]:
    """The broker that the settings name. If it does not answer, raises HeadraceError that names the remedy.

    `ready`: how to wait for a broker that is starting. By default, wait up to a minute (readiness.FIRST_USE_S) and
    report it on stderr.
    """
    ready = ready or retry_until_first_use(print_notice)
    broker = connect(settings, access.owner().conninfo(application_name), ready)
    try:
        try:
            broker.health()
        except TransientError as error:
            raise HeadraceError(unreachable_broker_message(settings, error)) from None
        yield broker
    finally:
        broker.close()


def unreachable_broker_message(settings: Settings, error: BaseException) -> str:
    """The error message about a broker that does not answer, with its remedy, in one line."""
    address = settings.broker.address
    if address is None:
        return f"the log in the database does not answer: {one_line(error)}"
    return (
        f"no Kafka answers at {address}: is it running there? Start it, name another with"
        f" --broker kafka://HOST:PORT (HEADRACE_BROKER__URL), or use the embedded broker: --broker embedded"
        f" ({one_line(error)[:200]})"
    )


def service_settings(
    model: type[S], access: Access, data_dir: Path, config: Path | None, overrides: Mapping[str, Any] | None = None
) -> S:
    """The settings with which a service is started on this machine. Raises ConfigError."""
    login = access.service(model.name)
    defaults = {"data_dir": data_dir, "database.url": login.url, "database.password_file": login.password_file}
    return load(model, os.environ, config, {**defaults, **(overrides or {})})


class Preparation(NamedTuple):
    """The number of applied migrations, and what an operator should do about the broker or the stored rows."""

    applied: int
    warnings: Sequence[str]


def prepare(
    access: Access, settings: Settings, ready: Retry | None = None, *, accept_new_broker: bool = False
) -> Preparation:
    """Create or migrate schema, roles and topics for this version.

    The broker is checked first: if it does not answer, nothing is changed. Raises ConfigError if the database is used
    with another kind of broker, unless a new one is accepted, HeadraceError if a restore was interrupted.
    """
    with open_broker(access, settings, "headrace topics", ready) as broker:
        offsets_warning = warning_of_offsets_retention(broker, topics_of(settings))
        with access.connect("headrace migrate") as connection:
            require_no_interrupted_restore(connection)
        try:
            applied = migrate(access.owner().conninfo("headrace migrate"))
        except psycopg.errors.InsufficientPrivilege as error:
            raise ConfigError(f"the database user lacks a privilege for the migrations: {one_line(error)}") from error
        with access.connect("headrace migrate") as connection:
            require_same_kind(connection, settings.broker, accept_new=accept_new_broker)
            rates_warning = warning_of_partial_rates(connection)
        if access.server is not None:
            access.server.set_passwords(ROLES)
        broker.ensure_topics(topics_of(settings))
    return Preparation(applied, [each for each in (offsets_warning, rates_warning) if each])


def topics_of(settings: Settings) -> list[TopicSpec]:
    return topic_specs(settings.broker.partitions, settings.broker.retention_days * DAY_S)


def connection_uri(access: Access, role: str, data_dir: DataDir) -> str:
    """A URI for psql and other libpq programs. It names the file that holds the password."""
    if access.server is None:
        login = access.owner()
        if login.password_file is None:
            return login.url
        raise ConfigError(
            f"the database is not the embedded one: use {login.url} with the password in {login.password_file}"
        )  # a passfile line needs the host and port that libpq will use, which only the user knows
    server = access.server
    passfile = data_dir.secrets / "pgpass"
    roles = [each for each in (OWNER, READER) if server.password_file(each).exists()]
    # In a passfile, the host of a Unix socket is its directory, with colons and backslashes escaped.
    host = str(server.socket_dir).replace("\\", "\\\\").replace(":", "\\:")
    lines = [f"{host}:5432:{DATABASE}:{each}:{server.password_file(each).read_text().strip()}\n" for each in roles]
    write_private(passfile, "".join(lines))
    return f"{server.url(role)}&passfile={quote(str(passfile), safe='')}"


def print_notice(text: str) -> None:
    """Report on stderr why a command waits."""
    sys.stderr.write(f"headrace: {shown(text)}\n")


def one_line(text: object) -> str:
    return " ".join(str(text).split())


def _connect(conninfo: str) -> psycopg.Connection[tuple[object, ...]]:
    try:
        return psycopg.connect(conninfo, autocommit=True, connect_timeout=10)
    except psycopg.OperationalError as error:
        raise ConfigError(f"cannot connect to the database: {one_line(error)}") from None
