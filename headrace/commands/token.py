"""The command `headrace token`: manages the tokens of the REST API, directly in the database."""

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
from headrace.terminal.arguments import DatabaseOptions, Output, OutputOption, WideOption, grouped_options
from headrace.terminal.output import print_json, print_table, stderr
from shared.ops.tables import audit as audit_table
from shared.ops.tables import tokens as tokens_table
from shared.ops.tokens import ID_BYTES, SECRET_BYTES, Parts, Token, minted, span_of, written
from shared.settings.sections import Settings

# The service of audit lines about changes that this command made.
NOBODYS_SERVICE = "headrace"
NEVER = "never"

app = typer.Typer(help="Tokens for the REST API.", no_args_is_help=True, rich_markup_mode=None)
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Letters, digits and . _ -")]
ExpiresOption = Annotated[
    str | None, typer.Option("--expires", metavar="SPAN", help="Lifetime: 30d, 12h ... [default: unlimited]")
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
    scope: Annotated[
        ScopeOption, typer.Option("--scope", help="read: only read; operate: also change; admin: everything.")
    ],
    expires: ExpiresOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Create a token and print it. It cannot be shown again: only its hash is stored."""
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
    grace: Annotated[str, typer.Option("--grace", metavar="SPAN", help="How long the old token still works.")] = "1h",
    expires: Annotated[
        str | None, typer.Option("--expires", metavar="SPAN", help="Lifetime. [default: that of the old token]")
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Create a new token of the same name and scope and print it. The old token expires after the grace period."""
    lifetime = None if expires is None else span_of(expires)
    parts = _minted()
    with _database(place.settings) as connection:
        old, made = tokens_table.rotate(connection, parts, name, span_of(grace), lifetime)
        _note(connection, "token rotate", name, before=_told(old), after=_told(made) | {"grace": grace})
    _hand_over(parts, made, output)


@app.command("revoke")
@grouped_options
def revoke(place: DatabaseOptions, name: NameArgument, output: OutputOption = Output.TABLE) -> None:
    """Revoke a token at once, and an older token of the same name that is in its grace period."""
    with _database(place.settings) as connection:
        ended = [_told(each) for each in tokens_table.revoke(connection, name)]
        _note(connection, "token revoke", name, after={"revoked": ended})
    if output is Output.JSON:
        print_json(ended)
    else:
        stderr().print(f"token {name} is revoked", markup=False)


@app.command("list")
@grouped_options
def listing(place: DatabaseOptions, output: OutputOption = Output.TABLE, wide: WideOption = False) -> None:
    """List all tokens ever created, without their secrets. Times are in UTC."""
    with _database(place.settings) as connection:
        found = [_told(each) | {"state": each.state(now)} for each, now in tokens_table.listing(connection)]
    if output is Output.JSON:
        print_json(found)
        return
    rows = [row | {"expires_at": row["expires_at"] or NEVER} for row in found]
    times = ("created_at", "expires_at", "revoked_at")
    print_table(("name", "id", "scope", "state", *times[: 3 if wide else 2]), rows, times=times, wide=wide)


@contextmanager
def _database(settings: Settings) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """Makes the change and its line in the trail one transaction."""
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
    """Prints the token alone to standard output, so that it can be piped into a file."""
    if output is Output.JSON:
        print_json(_told(made) | {"token": written(parts)})
        return
    sys.stdout.write(f"{written(parts)}\n")
    until = NEVER if made.expires_at is None else _iso(made.expires_at)
    stderr().print(f"scope {made.scope}, expires: {until}; the token is not shown again", markup=False)


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
