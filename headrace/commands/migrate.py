"""The command `headrace migrate`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from psycopg import sql

from headrace.database.access import ROLES, Access, access_of, open_broker, open_database, prepare, topics_of
from headrace.database.data_dir import DataDir
from headrace.terminal.arguments import BrokerOptions, grouped_options
from headrace.terminal.output import print_note
from shared.database.migrations import missing_migrations
from shared.errors import ConfigError, HeadraceError
from shared.settings.sections import Settings
from shared.settings.values import read_secret


@grouped_options
def migrate(
    options: BrokerOptions,
    passwords: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Set each role's password from DIR/ROLE.password; not for the embedded database."
        ),
    ] = None,
    new_broker: Annotated[
        bool, typer.Option("--new-broker", help="Use another kind of broker than before: everything is fetched again.")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; exit with status 1 if migrations or topics are missing.")
    ] = False,
) -> None:
    """Prepare database and broker for the services: schema, roles with their privileges, topics. Safe to repeat."""
    settings = options.settings
    if check:
        require_prepared(settings)
        return
    secrets = {} if passwords is None else {role: read_secret(passwords / f"{role}.password") for role in ROLES}
    if settings.database is None:
        DataDir(settings.data_dir).create()
    with open_database(settings) as access:
        preparation = prepare(access, settings, accept_new_broker=new_broker)
        if secrets and access.server is None:
            set_passwords(access, secrets)
    for warning in preparation.warnings:
        print_note(warning)
    where = f" on {settings.broker.url}" if settings.broker.address else ""
    sys.stdout.write(f"{preparation.applied} migrations applied, {len(topics_of(settings))} topics are there{where}\n")
    if secrets:
        sys.stdout.write(f"{len(secrets)} passwords set from {passwords}\n")


def require_prepared(settings: Settings) -> None:
    """Raises HeadraceError that names what is missing."""
    server = access_of(settings).server
    if server is not None and not server.exists():
        raise HeadraceError(f"there is no database in {settings.data_dir}: run `headrace migrate`")
    with open_database(settings) as access:
        with access.connect("headrace migrate") as connection:
            missing = missing_migrations(connection)
        if missing:
            names = ", ".join(f"{each.area} {each.path.stem}" for each in missing)
            raise HeadraceError(f"{len(missing)} migrations are missing ({names}): run `headrace migrate`")
        with open_broker(access, settings, "headrace migrate") as broker:
            try:
                for spec in topics_of(settings):
                    broker.partitions(spec.name)
            except ConfigError as error:
                raise HeadraceError(str(error)) from error
    sys.stdout.write("database and topics are prepared for this version\n")


def set_passwords(access: Access, secrets: dict[str, str]) -> None:
    """Set passwords as hashes computed here, so that no password is sent or appears in the server's log."""
    with access.connect("headrace migrate") as connection:
        for role, secret in secrets.items():
            hashed = connection.pgconn.encrypt_password(secret.encode(), role.encode(), b"scram-sha-256").decode()
            connection.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), sql.Literal(hashed)))
