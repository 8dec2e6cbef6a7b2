"""Finds slices of a document that are too large, or have numbers that a reader cannot hold.

JSON does not limit numbers. PostgreSQL, Parquet and most programs hold integers of 64 bits and IEEE 754 doubles: an
integer beyond them, or a number that is infinite or 0 as a double but not in the text, would end as an error or as
another value. Such a slice is not an event; the other slices of its document are.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import msgspec

INT64 = range(-(2**63), 2**63)
# A shorter integer fits into 64 bits, and no shorter number with an exponent of two digits is beyond a double.
SAFE_DIGITS = 19
# A sign counts as a digit, so that one search finds exponents with and without it. Some more documents are suspect.
_DIGITS = bytes.maketrans(b"123456789E+-", b"000000000e00")
_SUSPECT = (b"0" * SAFE_DIGITS, b"0e000")
# A text comes first, so that digits within it are no number.
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|(-?[0-9]+)((?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)')
MAX_SHOWN = 40


class SliceCheck:
    """The check of the slices of a document. It looks for numbers only if the document may have such a one: that costs
    about 0.6 nanoseconds for each of its bytes."""

    def __init__(self, document: bytes, max_bytes: int) -> None:
        shape = document.translate(_DIGITS)
        # From the end, because CPython's rfind skips more bytes than find: it takes a third of the time.
        self._has_numbers = any(shape.rfind(each) >= 0 for each in _SUSPECT)
        self._max_bytes = max_bytes

    def __call__(self, body: msgspec.Raw) -> str | None:
        """The problem of a slice; None if there is none."""
        if len(body) > self._max_bytes:
            return f"expected an event of at most {self._max_bytes:,} bytes, got {len(body):,}"
        return number_problem(body) if self._has_numbers else None

    def passes_all(self, bodies: Sequence[msgspec.Raw]) -> bool:
        """Whether no slice has a problem. False if that is not known without a look at each of them."""
        return not self._has_numbers and max(map(len, bodies), default=0) <= self._max_bytes


def number_problem(body: msgspec.Raw) -> str | None:
    """The first number of a JSON text that is beyond 64 bits or a double."""
    for match in _TOKEN.finditer(body):
        integer, rest = match.groups()
        if integer is not None and not (_is_double(match[0]) if rest else _is_int64(integer)):
            return f"expected numbers of 64 bits, got {match[0][:MAX_SHOWN].decode()}"
    return None


def _is_int64(text: bytes) -> bool:
    # int() of thousands of digits is slow, and refused by Python.
    return len(text) <= SAFE_DIGITS + 1 and int(text) in INT64


def _is_double(text: bytes) -> bool:
    value = float(text)
    mantissa = re.split(rb"[eE]", text, maxsplit=1)[0]
    return math.isfinite(value) and (value != 0 or not re.search(rb"[1-9]", mantissa))
