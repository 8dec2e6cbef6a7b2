"""headrace token: who may steer this Headrace over REST. It works on the database itself, as its owner."""

from __future__ import annotations

import getpass
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

import psycopg
import typer

from headrace.database.access import opened_if_made
from headrace.terminal.arguments import DatabaseOptions, Output, OutputOption, grouped_options
from headrace.terminal.output import print_json, print_table, stderr
from shared.ops.tables import audit as audit_table
from shared.ops.tables import tokens as tokens_table
from shared.ops.tokens import ID_BYTES, SECRET_BYTES, Parts, Token, minted, span_of, written
from shared.settings.sections import Settings

# What the trail says of changes that no service made.
NOBODYS_SERVICE = "headrace"
NEVER = "never"

app = typer.Typer(help="Tokens for the REST API.", no_args_is_help=True, rich_markup_mode=None)
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Letters, digits and . _ -")]
ExpiresOption = Annotated[
    str | None, typer.Option("--expires", metavar="SPAN", help="30d, 12h, ... [default: it does not]")
]


class ScopeOption(StrEnum):
    READ = "read"
    OPERATE = "operate"
    ADMIN = "admin"


@app.callback()
def token() -> None:
    """Tokens for the REST API."""


@app.command("create")
@grouped_options
def create(
    place: DatabaseOptions,
    name: NameArgument,
    scope: Annotated[ScopeOption, typer.Option("--scope", help="read looks; operate changes; admin may all.")],
    expires: ExpiresOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Make a token and print it, once: only its hash is kept."""
    lifetime = None if expires is None else span_of(expires)
    parts = _minted()
    with _database(place.settings) as connection:
        made = tokens_table.create(connection, parts, name, scope.value, lifetime)
        _note(connection, "token create", name, after=_told(made))
    _hand_over(parts, made, output)


@app.command("rotate")
@grouped_options
def rotate(
    place: DatabaseOptions,
    name: NameArgument,
    grace: Annotated[str, typer.Option("--grace", metavar="SPAN", help="How long the old one still works.")] = "1h",
    expires: Annotated[
        str | None, typer.Option("--expires", metavar="SPAN", help="[default: after as long as the old one]")
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Make a new token of the same name and scope and print it; the old one ends when the grace has passed."""
    lifetime = None if expires is None else span_of(expires)
    parts = _minted()
    with _database(place.settings) as connection:
        old, made = tokens_table.rotate(connection, parts, name, span_of(grace), lifetime)
        _note(connection, "token rotate", name, before=_told(old), after=_told(made) | {"grace": grace})
    _hand_over(parts, made, output)


@app.command("revoke")
@grouped_options
def revoke(place: DatabaseOptions, name: NameArgument, output: OutputOption = Output.TABLE) -> None:
    """End a token at once, and one of the same name whose grace runs."""
    with _database(place.settings) as connection:
        ended = [_told(each) for each in tokens_table.revoke(connection, name)]
        _note(connection, "token revoke", name, after={"revoked": ended})
    if output is Output.JSON:
        print_json(ended)
    else:
        stderr().print(f"token {name} is revoked", markup=False)


@app.command("list")
@grouped_options
def listing(place: DatabaseOptions, output: OutputOption = Output.TABLE) -> None:
    """All tokens that were ever made, without their secrets."""
    with _database(place.settings) as connection:
        found = [_told(each) | {"state": each.state(now)} for each, now in tokens_table.listing(connection)]
    if output is Output.JSON:
        print_json(found)
        return
    columns = ("name", "id", "scope", "state", "created_at", "expires_at")
    print_table(columns, [[row[column] or NEVER for column in columns] for row in found])


@contextmanager
def _database(settings: Settings) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """In one transaction: the change and its line in the trail."""
    with opened_if_made(settings) as access, access.connect("headrace token") as connection, connection.transaction():
        yield connection


def _minted() -> Parts:
    return minted(secrets.token_bytes(ID_BYTES + SECRET_BYTES))


def _note(
    connection: psycopg.Connection[tuple[object, ...]],
    action: str,
    name: str,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
) -> None:
    who = f"command:{getpass.getuser()}"
    audit_table.note(
        connection, NOBODYS_SERVICE, who, action, f"token:{name}", before=before, after=after, request_id="command"
    )


def _hand_over(parts: Parts, made: Token, output: Output) -> None:
    """The token alone goes to standard output, so that it can be piped into a file."""
    if output is Output.JSON:
        print_json(_told(made) | {"token": written(parts)})
        return
    sys.stdout.write(f"{written(parts)}\n")
    until = NEVER if made.expires_at is None else _iso(made.expires_at)
    stderr().print(f"scope {made.scope}, expires: {until}; it is not shown again", markup=False)


def _told(token: Token) -> dict[str, Any]:
    return {
        "name": token.name,
        "id": token.id,
        "scope": token.scope,
        "created_at": _iso(token.created_at),
        "expires_at": _iso(token.expires_at),
        "revoked_at": _iso(token.revoked_at),
    }


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
