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

from headrace.database.access import open_existing_database
from headrace.terminal.arguments import DatabaseOptions, Output, OutputOption, WideOption, grouped_options
from headrace.terminal.output import print_json, print_table, stderr
from shared.ops.tables import audit as audit_table
from shared.ops.tables import tokens as tokens_table
from shared.ops.tokens import ID_BYTES, SECRET_BYTES, Token, TokenParts, new_token, parse_duration, token_text
from shared.settings.sections import Settings

# The service of audit lines about changes that this command made.
COMMAND_SERVICE = "headrace"
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
    options: DatabaseOptions,
    name: NameArgument,
    scope: Annotated[
        ScopeOption, typer.Option("--scope", help="read: only read; operate: also change; admin: everything.")
    ],
    delegate: Annotated[
        bool, typer.Option("--delegate", help="Let the token name the person for whom it acts, as a bot does.")
    ] = False,
    expires: ExpiresOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Create a token and print it. It cannot be shown again: only its hash is stored."""
    lifetime = None if expires is None else parse_duration(expires)
    parts = _new_parts()
    with _transaction(options.settings) as connection:
        created = tokens_table.create(connection, parts, name, scope.value, lifetime, delegate=delegate)
        _append_audit(connection, "token create", name, after=_as_json(created))
    _print_token(parts, created, output)


@app.command("rotate")
@grouped_options
def rotate(
    options: DatabaseOptions,
    name: NameArgument,
    grace: Annotated[str, typer.Option("--grace", metavar="SPAN", help="How long the old token still works.")] = "1h",
    expires: Annotated[
        str | None, typer.Option("--expires", metavar="SPAN", help="Lifetime. [default: that of the old token]")
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Create a new token of the same name and rights and print it. The old token expires after the grace period."""
    lifetime = None if expires is None else parse_duration(expires)
    parts = _new_parts()
    with _transaction(options.settings) as connection:
        old_token, new_token = tokens_table.rotate(connection, parts, name, parse_duration(grace), lifetime)
        _append_audit(
            connection, "token rotate", name, before=_as_json(old_token), after=_as_json(new_token) | {"grace": grace}
        )
    _print_token(parts, new_token, output)


@app.command("revoke")
@grouped_options
def revoke(options: DatabaseOptions, name: NameArgument, output: OutputOption = Output.TABLE) -> None:
    """Revoke a token at once, and an older token of the same name that is in its grace period."""
    with _transaction(options.settings) as connection:
        revoked_tokens = [_as_json(each) for each in tokens_table.revoke(connection, name)]
        _append_audit(connection, "token revoke", name, after={"revoked": revoked_tokens})
    if output is Output.JSON:
        print_json(revoked_tokens)
    else:
        stderr().print(f"token {name} is revoked", markup=False)


@app.command("list")
@grouped_options
def list_tokens(options: DatabaseOptions, output: OutputOption = Output.TABLE, wide: WideOption = False) -> None:
    """List all tokens ever created, without their secrets. Times are in UTC."""
    with _transaction(options.settings) as connection:
        tokens = [_as_json(each) | {"state": each.state(now)} for each, now in tokens_table.list_tokens(connection)]
    if output is Output.JSON:
        print_json(tokens)
        return
    rows = [
        row | {"expires_at": row["expires_at"] or NEVER, "delegate": "yes" if row["delegate"] else "no"}
        for row in tokens
    ]
    times = ("created_at", "expires_at", "revoked_at")
    print_table(("name", "id", "scope", "delegate", "state", *times[: 3 if wide else 2]), rows, times=times, wide=wide)


@contextmanager
def _transaction(settings: Settings) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """Makes the change and its line in the trail one transaction."""
    with (
        open_existing_database(settings) as access,
        access.connect("headrace token") as connection,
        connection.transaction(),
    ):
        yield connection


def _new_parts() -> TokenParts:
    return new_token(secrets.token_bytes(ID_BYTES + SECRET_BYTES))


def _append_audit(
    connection: psycopg.Connection[tuple[object, ...]],
    action: str,
    name: str,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
) -> None:
    who = f"command:{getpass.getuser()}"
    audit_table.append(
        connection, COMMAND_SERVICE, who, action, f"token:{name}", before=before, after=after, request_id="command"
    )


def _print_token(parts: TokenParts, created: Token, output: Output) -> None:
    """Prints the token alone to standard output, so that it can be piped into a file."""
    if output is Output.JSON:
        print_json(_as_json(created) | {"token": token_text(parts)})
        return
    sys.stdout.write(f"{token_text(parts)}\n")
    until = NEVER if created.expires_at is None else _iso(created.expires_at)
    kind = ", delegate" if created.delegate else ""
    stderr().print(f"scope {created.scope}{kind}, expires: {until}; the token is not shown again", markup=False)


def _as_json(token: Token) -> dict[str, Any]:
    return {
        "name": token.name,
        "id": token.id,
        "scope": token.scope,
        "delegate": token.delegate,
        "created_at": _iso(token.created_at),
        "expires_at": _iso(token.expires_at),
        "revoked_at": _iso(token.revoked_at),
    }


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
