"""Bearer tokens: how they look, what is kept of them, and what their scopes allow.

A token is `hr_ID_SECRET`. The database keeps ID and the SHA-256 of SECRET (256 random bits: no slow hash is needed).
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
_SPAN = re.compile(r"([0-9]{1,9})([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
LONGEST = timedelta(days=3660)
_TOKEN = re.compile(r"hr_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")


class Parts(NamedTuple):
    id: str
    secret: str


@dataclass(frozen=True)
class Token:
    """A row of ops.tokens. `replaced_by`: the token that took its place at a rotation."""

    id: str
    name: str
    digest: bytes
    scope: Scope
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    replaced_by: str | None = None

    def state(self, now: datetime) -> Literal["valid", "expired", "revoked"]:
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "valid"


def minted(random: bytes) -> Parts:
    """A new token of ID_BYTES + SECRET_BYTES random bytes."""
    token_id, secret = random[:ID_BYTES], random[ID_BYTES:]
    if len(secret) != SECRET_BYTES:
        raise ValueError(f"expected {ID_BYTES + SECRET_BYTES} random bytes, got {len(random)}")
    return Parts(token_id.hex(), urlsafe_b64encode(secret).rstrip(b"=").decode())


def written(parts: Parts) -> str:
    return f"hr_{parts.id}_{parts.secret}"


def parts_of(text: str) -> Parts | None:
    """None: it is no token of the database."""
    found = _TOKEN.fullmatch(text)
    return None if found is None else Parts(*found.groups())


def digest_of(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def is_secret_of(secret: str, token: Token) -> bool:
    return hmac.compare_digest(digest_of(secret), token.digest)


def allows(scope: Scope, needed: Scope) -> bool:
    """Each scope holds those before it."""
    return SCOPES.index(scope) >= SCOPES.index(needed)


def span_of(text: str) -> timedelta:
    """A time span as people write it: 90s, 15m, 1h, 30d, 2w. Raises ConfigError."""
    found = _SPAN.fullmatch(text)
    seconds = int(found[1]) * _SECONDS[found[2]] if found else None
    if seconds is None or seconds > LONGEST.total_seconds():
        raise ConfigError(f"{text!r} is no time span: expected 90s, 15m, 1h, 30d or 2w, ten years at most")
    return timedelta(seconds=seconds)
