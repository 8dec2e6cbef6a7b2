"""Renders payloads and headers of records as JSON that people can read."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import orjson

DEEPEST = 100


def payload(value: bytes, most_bytes: int) -> dict[str, Any]:
    """Renders bytes as their JSON value, else as UTF-8 text, else as base64.

    Shows at most `most_bytes`; `note` says if the value was cut.
    """
    size = {"size_bytes": len(value)}
    cut = value[:most_bytes]
    note = f"the first {most_bytes} of {len(value)} bytes" if len(cut) < len(value) else None
    if note is None:
        try:
            meant = orjson.loads(value)
            if not _is_deep(meant):
                return {"encoding": "json", "value": meant, "note": None, **size}
        except orjson.JSONDecodeError:
            pass
    try:
        # The cut may split a character, so an incomplete one at the end is ignored.
        text = cut.decode() if note is None else cut.decode(errors="ignore")
        value.decode()
    except UnicodeDecodeError:
        return {"encoding": "base64", "value": base64.b64encode(cut).decode(), "note": note, **size}
    return {"encoding": "text", "value": text, "note": note, **size}


def _is_deep(value: Any) -> bool:
    """Tells whether a value is nested too deeply for the JSON encoder."""
    level = [value]
    for _ in range(DEEPEST):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return False
    return True


def headers_shown(headers: Mapping[str, bytes]) -> dict[str, str]:
    """Headers as text; bytes that are not UTF-8 as `base64:...`."""
    return {name: _shown(value) for name, value in headers.items()}


def _shown(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return f"base64:{base64.b64encode(value).decode()}"
