"""The commands `headrace db ...`: the connection URI, and work on stored rows after an upgrade."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated

import typer

from headrace.database.access import access_of, connection_uri, open_existing_database
from headrace.database.data_dir import DataDir
from headrace.database.embedded import OWNER, READER
from headrace.terminal.arguments import DatabaseOptions, grouped_options
from headrace.terminal.output import stderr, stdout
from services.loader.postgres_packing import FIRST, PackedBatch, pack_batch
from shared.errors import ConfigError

app = typer.Typer(help="The database.", no_args_is_help=True, rich_markup_mode=None)


class Role(StrEnum):
    OWNER = "owner"
    READER = "reader"


@app.callback()
def db() -> None:
    """The database."""


@app.command("uri")
@grouped_options
def show_uri(
    options: DatabaseOptions,
    role: Annotated[Role, typer.Option(help="The role to log in as; the owner has all privileges.")] = Role.OWNER,
) -> None:
    """Print a URI for psql and other clients: psql "$(headrace db uri)". It names the password's file, and does not
    contain the password."""
    settings = options.settings
    access = access_of(settings)
    if access.server is not None and not access.server.password_file(OWNER).exists():
        raise ConfigError(f"there is no database in {settings.data_dir} yet; `headrace run` makes one")
    sys.stdout.write(
        connection_uri(access, READER if role is Role.READER else OWNER, DataDir(settings.data_dir)) + "\n"
    )
    if access.server is not None and not access.server.accepts_connections():
        stderr().print("the server is not running: `headrace run` starts it, `headrace sql` starts and stops it")


@app.command("pack-predictions")
@grouped_options
def pack_predictions(
    options: DatabaseOptions,
    batch: Annotated[
        int, typer.Option("--batch", metavar="N", min=1, max=100_000, help="Predictions in one transaction.")
    ] = 2_000,
) -> None:
    """Pack predictions that an earlier version stored, so that frames read them several times as fast.

    Services may run meanwhile: each batch is a transaction of its own. A run that was stopped can be repeated, and only
    packs what is left. Newer predictions are packed when they are stored.
    """
    total = 0
    with open_existing_database(options.settings) as access, access.connect("headrace db") as connection:
        done = PackedBatch(0, FIRST)
        while done.last is not None:
            done = pack_batch(connection, done.last, batch)
            total += done.rows
            if done.rows:
                stderr().print(f"{total:,} predictions packed", markup=False, highlight=False)
    stdout().print(f"{total:,} predictions packed; none is left", markup=False, highlight=False)
