"""headrace db."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated

import typer

from headrace.commands.arguments import ConfigOption, DatabaseOption, DataDirOption, settings_of, stderr
from headrace.database.access import access_of, uri
from headrace.database.data_dir import DataDir
from headrace.database.embedded import OWNER, READER
from shared.errors import ConfigError

app = typer.Typer(help="The database.", no_args_is_help=True, rich_markup_mode=None)


class Role(StrEnum):
    OWNER = "owner"
    READER = "reader"


@app.callback()
def db() -> None:
    """The database."""


@app.command("uri")
def show_uri(
    role: Annotated[Role, typer.Option(help="Whose login: the owner may do everything.")] = Role.OWNER,
    data_dir: DataDirOption = None,
    database: DatabaseOption = None,
    config: ConfigOption = None,
) -> None:
    """Print a URI for psql and its like: psql "$(headrace db uri)". The password stays in a file that it names."""
    settings = settings_of(data_dir, database, config)
    access = access_of(settings)
    if access.server is not None and not access.server.password_file(OWNER).exists():
        raise ConfigError(f"there is no database in {settings.data_dir} yet; `headrace run` makes one")
    sys.stdout.write(uri(access, READER if role is Role.READER else OWNER, DataDir(settings.data_dir)) + "\n")
    if access.server is not None and not access.server.answers():
        stderr().print("the server is not up now: `headrace run` starts it, `headrace sql` starts and stops it")
