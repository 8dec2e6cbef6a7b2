"""Formats and parses bearer tokens, hashes their secrets, and compares their scopes.

A token is `hr_ID_SECRET`. The database stores ID and the SHA-256 of SECRET; 256 random bits need no slow hash.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

from shared.errors import ConfigError

Scope = Literal["read", "operate", "admin"]
SCOPES: tuple[Scope, ...] = ("read", "operate", "admin")

ID_BYTES, SECRET_BYTES = 6, 32
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_DURATION = re.compile(r"([0-9]{1,9})([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
MAX_DURATION = timedelta(days=3660)
_TOKEN = re.compile(r"hr_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")


class TokenParts(NamedTuple):
    """The two parts of a token's text."""

    id: str
    secret: str


@dataclass(frozen=True)
class Token:
    """A row of ops.tokens. `replaced_by` is the id of the token that replaced it in a rotation. A delegate may act for
    the people that it names (delegation.py)."""

    id: str
    name: str
    digest: bytes
    scope: Scope
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    replaced_by: str | None = None
    delegate: bool = False

    def state(self, now: datetime) -> Literal["valid", "expired", "revoked"]:
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "valid"


def new_token(random: bytes) -> TokenParts:
    """A new token, made of ID_BYTES + SECRET_BYTES random bytes."""
    token_id, secret = random[:ID_BYTES], random[ID_BYTES:]
    if len(secret) != SECRET_BYTES:
        raise ValueError(f"expected {ID_BYTES + SECRET_BYTES} random bytes, got {len(random)}")
    return TokenParts(token_id.hex(), urlsafe_b64encode(secret).rstrip(b"=").decode())


def token_text(parts: TokenParts) -> str:
    return f"hr_{parts.id}_{parts.secret}"


def parse_token(text: str) -> TokenParts | None:
    """Parses `hr_ID_SECRET`; None for any other text."""
    match = _TOKEN.fullmatch(text)
    return None if match is None else TokenParts(*match.groups())


def digest_of(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def is_secret_of(secret: str, token: Token) -> bool:
    return hmac.compare_digest(digest_of(secret), token.digest)


def allows(scope: Scope, needed: Scope) -> bool:
    """Each scope includes the scopes before it in SCOPES."""
    return SCOPES.index(scope) >= SCOPES.index(needed)


def lesser(one: Scope, other: Scope) -> Scope:
    return min(one, other, key=SCOPES.index)


def parse_duration(text: str) -> timedelta:
    """Parses a duration: 90s, 15m, 1h, 30d, 2w. Raises ConfigError."""
    match = _DURATION.fullmatch(text)
    seconds = int(match[1]) * _SECONDS[match[2]] if match else None
    if seconds is None or seconds > MAX_DURATION.total_seconds():
        raise ConfigError(f"invalid duration {text!r}: expected 90s, 15m, 1h, 30d or 2w, at most ten years")
    return timedelta(seconds=seconds)
