"""Bytes of records, for people. Pure."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import orjson


def payload(value: bytes, most_bytes: int) -> dict[str, Any]:
    """Bytes for people: what they mean where they are JSON, else text where they are text, else base64."""
    size = {"size_bytes": len(value)}
    cut = value[:most_bytes]
    note = f"the first {most_bytes} of {len(value)} bytes" if len(cut) < len(value) else None
    if note is None:
        try:
            return {"encoding": "json", "value": orjson.loads(value), "note": None, **size}
        except orjson.JSONDecodeError:
            pass
    try:
        # A cut may go through a character; what lies before it is text or is not.
        text = cut.decode() if note is None else cut.decode(errors="ignore")
        value.decode()
    except UnicodeDecodeError:
        return {"encoding": "base64", "value": base64.b64encode(cut).decode(), "note": note, **size}
    return {"encoding": "text", "value": text, "note": note, **size}


def headers_shown(headers: Mapping[str, bytes]) -> dict[str, str]:
    """Text; what is none as `base64:...`."""
    return {name: _shown(value) for name, value in headers.items()}


def _shown(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return f"base64:{base64.b64encode(value).decode()}"
