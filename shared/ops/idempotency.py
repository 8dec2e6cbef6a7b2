"""Idempotency keys: what makes two requests the same one."""

from __future__ import annotations

import hashlib
import re
from typing import Any, NamedTuple

import orjson

# Visible ASCII, so that it survives every proxy; long enough for anything that somebody derives one from.
KEY_PATTERN = "^[!-~]{1,200}$"
WHAT_A_KEY_IS = "1 to 200 visible ASCII characters"
KEPT_H = 48
_KEY = re.compile(KEY_PATTERN)


class Stored(NamedTuple):
    """The answer that a key got. `headers` without those that differ from answer to answer."""

    request_digest: bytes
    status: int
    headers: dict[str, str]
    body: Any


def is_key(text: str) -> bool:
    return _KEY.fullmatch(text) is not None


def digest_of(method: str, path: str, query: str, body: Any) -> bytes:
    """Of what is asked for: spaces and the order of keys in the body make no difference."""
    said = orjson.dumps([method, path, query, body], option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(said).digest()
