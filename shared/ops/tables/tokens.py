"""Creates, rotates, revokes and finds tokens, in ops.tokens. Runs within the caller's transaction.

Nothing is cached, so a revocation takes effect at once.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta

import psycopg

from shared.database.connection import DbConnection
from shared.errors import ConfigError
from shared.ops.operations import NotPossible
from shared.ops.tokens import NAME, Scope, Token, TokenParts, digest_of

_COLUMNS = "id, name, digest, scope, created_at, expires_at, revoked_at, replaced_by, delegate"


def find(connection: DbConnection, token_ids: Collection[str]) -> list[tuple[Token, datetime]]:
    """The tokens with these ids, each with the database's clock, by which all services judge its expiry."""
    rows = connection.execute(
        f"SELECT {_COLUMNS}, clock_timestamp() FROM ops.tokens WHERE id = ANY(%s)", (list(token_ids),)
    ).fetchall()
    return [(Token(*row[:-1]), row[-1]) for row in rows]


def create(
    connection: DbConnection,
    parts: TokenParts,
    name: str,
    scope: Scope,
    lifetime: timedelta | None,
    *,
    delegate: bool = False,
) -> Token:
    """Raises NotPossible if the name is in use, and ConfigError if it is invalid."""
    if NAME.fullmatch(name) is None:
        raise ConfigError(f"invalid token name {name!r}: expected at most 64 letters, digits and . _ -")
    try:
        return _insert(connection, parts, name, scope, lifetime, delegate=delegate)
    except psycopg.errors.UniqueViolation:
        raise NotPossible(f"token {name!r} already exists: choose another name, or rotate or revoke it") from None


def revoke(connection: DbConnection, name: str) -> list[Token]:
    """Revokes all tokens of this name, including one in its grace period. Raises NotPossible if there is none."""
    rows = connection.execute(
        "UPDATE ops.tokens SET revoked_at = clock_timestamp() WHERE name = %s AND revoked_at IS NULL"
        f" RETURNING {_COLUMNS}",
        (name,),
    ).fetchall()
    if not rows:
        raise _no_token(name)
    return [Token(*row) for row in rows]


def rotate(
    connection: DbConnection, parts: TokenParts, name: str, grace: timedelta, lifetime: timedelta | None = None
) -> tuple[Token, Token]:
    """Replaces a token; returns the old one, which expires after `grace`, and the new one.

    The new token has the same scope, is a delegate if the old one is, and has the same lifetime unless `lifetime` is
    set. Raises NotPossible if no current token has this name.
    """
    row = connection.execute(
        f"SELECT {_COLUMNS} FROM ops.tokens WHERE name = %s AND revoked_at IS NULL AND replaced_by IS NULL FOR UPDATE",
        (name,),
    ).fetchone()
    if row is None:
        raise _no_token(name)
    old = Token(*row)
    if lifetime is None and old.expires_at is not None:
        lifetime = old.expires_at - old.created_at
    # The old row is updated first, because a name has one current token; its foreign key is checked at commit.
    connection.execute("SET CONSTRAINTS ALL DEFERRED")
    connection.execute(
        "UPDATE ops.tokens SET replaced_by = %s, expires_at = least(expires_at, clock_timestamp() + %s) WHERE id = %s",
        (parts.id, grace, old.id),
    )
    return old, _insert(connection, parts, name, old.scope, lifetime, delegate=old.delegate)


def list_tokens(connection: DbConnection) -> list[tuple[Token, datetime]]:
    """All tokens, including expired and revoked ones, by name and age, each with the database's clock."""
    rows = connection.execute(
        f"SELECT {_COLUMNS}, clock_timestamp() FROM ops.tokens ORDER BY name, created_at"
    ).fetchall()
    return [(Token(*row[:-1]), row[-1]) for row in rows]


def _insert(
    connection: DbConnection, parts: TokenParts, name: str, scope: Scope, lifetime: timedelta | None, *, delegate: bool
) -> Token:
    row = connection.execute(
        "INSERT INTO ops.tokens (id, name, digest, scope, expires_at, delegate)"
        f" VALUES (%s, %s, %s, %s, clock_timestamp() + %s, %s) RETURNING {_COLUMNS}",
        (parts.id, name, digest_of(parts.secret), scope, lifetime, delegate),
    ).fetchone()
    assert row is not None  # noqa: S101  # RETURNING of an insert always gives the row
    return Token(*row)


def _no_token(name: str) -> NotPossible:
    return NotPossible(f"there is no token {name!r} in use; `headrace token list` shows all")
