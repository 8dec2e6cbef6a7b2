"""Tokens: their format, their rows and their scopes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import ConfigError
from shared.ops.operations import NotPossible
from shared.ops.tables import tokens as tokens_table
from shared.ops.tokens import (
    ID_BYTES,
    SCOPES,
    SECRET_BYTES,
    Scope,
    Token,
    TokenParts,
    allows,
    digest_of,
    is_secret_of,
    lesser,
    new_token,
    parse_duration,
    parse_token,
    token_text,
)

Database = psycopg.Connection[Any]
NOW = datetime(2026, 1, 31, 9, tzinfo=UTC)
HOUR = timedelta(hours=1)
RANDOM = st.binary(min_size=ID_BYTES + SECRET_BYTES, max_size=ID_BYTES + SECRET_BYTES)


def parts(number: int) -> TokenParts:
    return new_token(bytes([number]) * (ID_BYTES + SECRET_BYTES))


def token(secret: str = "s", expires_at: datetime | None = None, revoked_at: datetime | None = None) -> Token:
    return Token("id", "name", digest_of(secret), "read", NOW, expires_at, revoked_at)


@given(RANDOM)
def test_a_token_is_read_as_it_was_written(random: bytes) -> None:
    token_parts = new_token(random)

    assert parse_token(token_text(token_parts)) == token_parts


@given(st.text())
def test_other_text_is_no_token(text: str) -> None:
    token_parts = parse_token(text)

    assert token_parts is None or token_text(token_parts) == text


@pytest.mark.parametrize("change", [lambda t: t + "x", lambda t: t[:-1], lambda t: t.upper(), lambda t: f" {t}\n"])
def test_an_almost_valid_token_is_refused(change: Any) -> None:
    assert parse_token(change(token_text(parts(1)))) is None


def test_too_few_random_bytes_are_refused() -> None:
    with pytest.raises(ValueError, match="expected 38 random bytes, got 37"):
        new_token(bytes(37))


@given(RANDOM, RANDOM)
def test_a_token_matches_only_its_own_secret(random: bytes, other_random: bytes) -> None:
    own, other = new_token(random), new_token(other_random)

    assert is_secret_of(own.secret, token(own.secret))
    assert is_secret_of(other.secret, token(own.secret)) == (own.secret == other.secret)


@pytest.mark.parametrize(
    ("stored", "state"),
    [
        (token(), "valid"),
        (token(expires_at=NOW + HOUR), "valid"),
        (token(expires_at=NOW), "expired"),
        (token(revoked_at=NOW), "revoked"),
        (token(expires_at=NOW - HOUR, revoked_at=NOW), "revoked"),
    ],
)
def test_a_token_is_valid_until_it_expires_or_is_revoked(stored: Token, state: str) -> None:
    assert stored.state(NOW) == state


@pytest.mark.parametrize(
    ("scope", "included"),
    [("read", ["read"]), ("operate", ["read", "operate"]), ("admin", ["read", "operate", "admin"])],
)
def test_a_scope_includes_the_lower_ones(scope: Scope, included: list[Scope]) -> None:
    scopes: tuple[Scope, ...] = ("read", "operate", "admin")

    assert [needed for needed in scopes if allows(scope, needed)] == included


@given(st.sampled_from(SCOPES), st.sampled_from(SCOPES))
def test_the_lesser_scope_is_the_one_that_allows_nothing_that_the_other_does_not(one: Scope, other: Scope) -> None:
    assert [needed for needed in SCOPES if allows(lesser(one, other), needed)] == [
        needed for needed in SCOPES if allows(one, needed) and allows(other, needed)
    ]


@pytest.mark.parametrize(("text", "hours"), [("3600s", 1), ("90m", 1.5), ("1h", 1), ("30d", 720), ("2w", 336)])
def test_a_duration_is_a_number_and_a_unit(text: str, hours: float) -> None:
    assert parse_duration(text) == timedelta(hours=hours)


@pytest.mark.parametrize("text", ["", "1", "h", "1 h", "-1h", "1.5h", "1y", "99999999d", "١h"])
def test_an_invalid_duration_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="expected 90s"):
        parse_duration(text)


def test_a_name_has_one_token_until_it_is_revoked(database: Database) -> None:
    tokens_table.create(database, parts(1), "n", "read", None)

    with pytest.raises(NotPossible, match="token 'n' already exists"):
        tokens_table.create(database, parts(2), "n", "read", None)

    tokens_table.revoke(database, "n")
    assert tokens_table.create(database, parts(3), "n", "operate", HOUR).scope == "operate"


def test_a_rotated_token_stays_valid_during_its_grace_period(database: Database) -> None:
    tokens_table.create(database, parts(1), "n", "operate", 48 * HOUR)

    with database.transaction():
        tokens_table.rotate(database, parts(2), "n", HOUR)

    (old, now), (new, _) = tokens_table.list_tokens(database)
    assert (old.name, new.name, old.scope, new.scope) == ("n", "n", "operate", "operate")
    assert old.replaced_by == new.id
    assert old.expires_at is not None
    assert timedelta() < old.expires_at - now <= HOUR
    assert new.expires_at is not None
    assert new.expires_at - new.created_at == pytest.approx(48 * HOUR, abs=timedelta(seconds=1))


@pytest.mark.parametrize("delegate", [False, True])
def test_a_rotated_token_is_a_delegate_if_the_old_one_was(database: Database, delegate: bool) -> None:
    tokens_table.create(database, parts(1), "n", "operate", None, delegate=delegate)

    with database.transaction():
        tokens_table.rotate(database, parts(2), "n", HOUR)

    assert [each.delegate for each, _ in tokens_table.list_tokens(database)] == [delegate, delegate]


def test_a_grace_period_does_not_extend_the_expiry(database: Database) -> None:
    tokens_table.create(database, parts(1), "n", "read", HOUR)

    with database.transaction():
        before, _ = tokens_table.rotate(database, parts(2), "n", 24 * HOUR)

    assert before.expires_at is not None
    ((found, _),) = tokens_table.find(database, [before.id])
    assert found.expires_at == before.expires_at


def test_a_revocation_also_ends_the_rotated_token(database: Database) -> None:
    tokens_table.create(database, parts(1), "n", "read", None)
    with database.transaction():
        tokens_table.rotate(database, parts(2), "n", HOUR)

    tokens_table.revoke(database, "n")

    assert {each.state(now) for each, now in tokens_table.list_tokens(database)} == {"revoked"}


def test_an_unknown_token_is_neither_rotated_nor_revoked(database: Database) -> None:
    for change in (
        lambda: tokens_table.revoke(database, "n"),
        lambda: tokens_table.rotate(database, parts(1), "n", HOUR),
    ):
        with pytest.raises(NotPossible, match="there is no token 'n' in use"):
            change()


def test_an_invalid_name_is_refused(database: Database) -> None:
    for name in ("", " ", "a b", "a\nb", "-a", "x" * 65, "é", "a/b"):
        with pytest.raises(ConfigError, match="invalid token name"):
            tokens_table.create(database, parts(1), name, "read", None)
