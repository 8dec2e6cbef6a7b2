"""Renders payloads and headers of records as JSON that people can read."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import orjson

MAX_DEPTH = 100


def render_payload(value: bytes, most_bytes: int) -> dict[str, Any]:
    """Renders bytes as their JSON value, else as UTF-8 text, else as base64.

    Shows at most `most_bytes`; `note` says if the value was cut.
    """
    size = {"size_bytes": len(value)}
    head = value[:most_bytes]
    note = f"the first {most_bytes} of {len(value)} bytes" if len(head) < len(value) else None
    if note is None:
        try:
            decoded = orjson.loads(value)
            if not _is_deep(decoded):
                return {"encoding": "json", "value": decoded, "note": None, **size}
        except orjson.JSONDecodeError:
            pass
    try:
        # The cut may split a character, so an incomplete one at the end is ignored.
        text = head.decode() if note is None else head.decode(errors="ignore")
        value.decode()
    except UnicodeDecodeError:
        return {"encoding": "base64", "value": base64.b64encode(head).decode(), "note": note, **size}
    return {"encoding": "text", "value": text, "note": note, **size}


def _is_deep(value: Any) -> bool:
    """Tells whether a value is nested too deeply for the JSON encoder."""
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return False
    return True


def render_headers(headers: Mapping[str, bytes]) -> dict[str, str]:
    """Headers as text; bytes that are not UTF-8 as `base64:...`."""
    return {name: _render(value) for name, value in headers.items()}


def _render(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return f"base64:{base64.b64encode(value).decode()}"
