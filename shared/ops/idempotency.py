"""Validates idempotency keys and computes the digest by which two requests are the same."""

from __future__ import annotations

import hashlib
import re
from typing import Any, NamedTuple

import orjson

# Visible ASCII passes every proxy unchanged; 200 characters are enough for keys derived from other identifiers.
KEY_PATTERN = "^[!-~]{1,200}$"
KEY_DESCRIPTION = "1 to 200 visible ASCII characters"
RETENTION_H = 48
_KEY = re.compile(KEY_PATTERN)


class StoredResponse(NamedTuple):
    """The response stored under a key. `headers` excludes those that differ in every response."""

    request_digest: bytes
    status: int
    headers: dict[str, str]
    body: Any


def is_key(text: str) -> bool:
    return _KEY.fullmatch(text) is not None


def digest_of(method: str, path: str, query: str, body: Any) -> bytes:
    """SHA-256 of the request; whitespace and the order of keys in the JSON body make no difference."""
    canonical = orjson.dumps([method, path, query, body], option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(canonical).digest()
