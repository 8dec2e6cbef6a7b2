"""How the API renders bytes."""

from __future__ import annotations

import base64

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.runtime.api.payloads import render_headers, render_payload


@pytest.mark.parametrize(
    ("value", "encoding", "shown"),
    [
        (b'{"a": [1, null]}', "json", {"a": [1, None]}),
        (b"plain \xc3\xa9", "text", "plain \u00e9"),
        (b"\xff\x00", "base64", "/wA="),
        (b"", "text", ""),
        (b"NaN", "text", "NaN"),
        (b"[" * 99 + b"]" * 99, "json", orjson.loads(b"[" * 99 + b"]" * 99)),
        (b"[" * 101 + b"]" * 101, "text", "[" * 101 + "]" * 101),
    ],
)
def test_bytes_are_shown_as_json_text_or_base64(value: bytes, encoding: str, shown: object) -> None:
    assert render_payload(value, 1000) == {"encoding": encoding, "value": shown, "note": None, "size_bytes": len(value)}


def test_a_long_payload_is_cut_with_a_note() -> None:
    assert render_payload(b'{"a": "' + "\u00e9".encode() * 50 + b'"}', 10) == {
        "encoding": "text",
        "value": '{"a": "\u00e9',
        "note": "the first 10 of 109 bytes",
        "size_bytes": 109,
    }
    assert base64.b64decode(render_payload(b"\xff" * 50, 10)["value"]) == b"\xff" * 10


@given(st.binary(max_size=50), st.integers(1, 60))
def test_every_payload_can_be_encoded_as_json(value: bytes, max_bytes: int) -> None:
    assert orjson.dumps(render_payload(value, max_bytes))
    assert orjson.dumps(render_headers({"h": value}))
