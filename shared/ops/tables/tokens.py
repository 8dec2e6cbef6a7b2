"""Tokens as rows of ops.tokens. Within the caller's transaction; nothing is cached, so a revocation holds at once."""

from __future__ import annotations

from datetime import datetime, timedelta

import psycopg

from shared.database.connection import DbConnection
from shared.errors import ConfigError
from shared.ops.operations import NotPossible
from shared.ops.tokens import NAME, Parts, Scope, Token, digest_of

_COLUMNS = "id, name, digest, scope, created_at, expires_at, revoked_at, replaced_by"


def find(connection: DbConnection, token_id: str) -> tuple[Token, datetime] | None:
    """The token and the database's time, by which it expires: all services agree on it."""
    row = connection.execute(
        f"SELECT {_COLUMNS}, clock_timestamp() FROM ops.tokens WHERE id = %s", (token_id,)
    ).fetchone()
    return None if row is None else (Token(*row[:-1]), row[-1])


def create(connection: DbConnection, parts: Parts, name: str, scope: Scope, lifetime: timedelta | None) -> Token:
    """Raises NotPossible: the name is taken; ConfigError: it is no name."""
    if NAME.fullmatch(name) is None:
        raise ConfigError(f"{name!r} is no name for a token: letters, digits and . _ - (64 at most)")
    try:
        return _insert(connection, parts, name, scope, lifetime)
    except psycopg.errors.UniqueViolation:
        raise NotPossible(f"there is a token {name!r} already: choose another name, or rotate or revoke it") from None


def revoke(connection: DbConnection, name: str) -> list[Token]:
    """All tokens of this name, also one whose grace runs. Raises NotPossible: there is none."""
    found = connection.execute(
        "UPDATE ops.tokens SET revoked_at = clock_timestamp() WHERE name = %s AND revoked_at IS NULL"
        f" RETURNING {_COLUMNS}",
        (name,),
    ).fetchall()
    if not found:
        raise _no_token(name)
    return [Token(*row) for row in found]


def rotate(
    connection: DbConnection, parts: Parts, name: str, grace: timedelta, lifetime: timedelta | None = None
) -> tuple[Token, Token]:
    """The old token, which ends when the grace has passed, and the new one, of the same scope and, unless a lifetime
    is given, as long a life. Raises NotPossible: there is none of this name."""
    row = connection.execute(
        f"SELECT {_COLUMNS} FROM ops.tokens WHERE name = %s AND revoked_at IS NULL AND replaced_by IS NULL FOR UPDATE",
        (name,),
    ).fetchone()
    if row is None:
        raise _no_token(name)
    old = Token(*row)
    if lifetime is None and old.expires_at is not None:
        lifetime = old.expires_at - old.created_at
    # The old one makes room first, for a name has one current token: the reference holds when the new row is there.
    connection.execute("SET CONSTRAINTS ALL DEFERRED")
    connection.execute(
        "UPDATE ops.tokens SET replaced_by = %s, expires_at = least(expires_at, clock_timestamp() + %s) WHERE id = %s",
        (parts.id, grace, old.id),
    )
    return old, _insert(connection, parts, name, old.scope, lifetime)


def listing(connection: DbConnection) -> list[tuple[Token, datetime]]:
    """All, also those that are over, by name and age, with the database's time."""
    found = connection.execute(
        f"SELECT {_COLUMNS}, clock_timestamp() FROM ops.tokens ORDER BY name, created_at"
    ).fetchall()
    return [(Token(*row[:-1]), row[-1]) for row in found]


def _insert(connection: DbConnection, parts: Parts, name: str, scope: Scope, lifetime: timedelta | None) -> Token:
    row = connection.execute(
        "INSERT INTO ops.tokens (id, name, digest, scope, expires_at)"
        f" VALUES (%s, %s, %s, %s, clock_timestamp() + %s) RETURNING {_COLUMNS}",
        (parts.id, name, digest_of(parts.secret), scope, lifetime),
    ).fetchone()
    assert row is not None  # noqa: S101  # RETURNING of an insert always gives the row
    return Token(*row)


def _no_token(name: str) -> NotPossible:
    return NotPossible(f"there is no token {name!r} in use; `headrace token list` shows all")
