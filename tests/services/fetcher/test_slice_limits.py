"""Slices that are too large, or have numbers that a reader cannot hold."""

from __future__ import annotations

import json
import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.fetcher.slice_limits import SliceCheck


def problem_of(text: str, max_bytes: int = 10_000) -> str | None:
    body = text.encode()
    return SliceCheck(b'{"events":[' + body + b"]}", max_bytes)(msgspec.Raw(body))


def test_a_slice_above_the_limit_has_a_problem() -> None:
    assert problem_of('{"a":12}', max_bytes=8) is None
    assert problem_of('{"a":123}', max_bytes=8) == "expected an event of at most 8 bytes, got 9"


@pytest.mark.parametrize(
    "number",
    [
        "9223372036854775808", "-9223372036854775809", "1" * 30, "1" * 5000, "-" + "9" * 400 + ".5",
        "1e309", "-1E+400", "1.5e999999999999", "1e-400", "0.0001e-9999",
    ],
)  # fmt: skip
def test_a_number_that_no_reader_holds_has_a_problem(number: str) -> None:
    problem = problem_of(f'{{"a":[1,{number}]}}')

    assert problem is not None
    assert number[:40] in problem


@pytest.mark.parametrize(
    "value",
    [
        "9223372036854775807", "-9223372036854775808", "0.00012345678901234567890", "1e308", "2.5E-300", "0e-999",
        "0.000e9999", "1" * 30 + ".5", '"' + "1" * 30 + '"', r'"a\"1e999"', '"5e0001e999"',
    ],
)  # fmt: skip
def test_other_values_have_none(value: str) -> None:
    assert problem_of(f'{{"a":[1,{value}]}}') is None


def reference(value: object) -> bool:
    """Whether all numbers of a value that Python's parser made are held by 64 bits."""
    if isinstance(value, dict):
        return all(map(reference, value.values()))
    if isinstance(value, list):
        return all(map(reference, value))
    return -(2**63) <= value < 2**63 if type(value) is int else not isinstance(value, float) or math.isfinite(value)


VALUES = st.recursive(
    st.none() | st.integers() | st.integers(-(10**40), 10**40) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(VALUES)
def test_the_check_agrees_with_the_parser(value: object) -> None:
    text = json.dumps(value).replace("Infinity", "1e999")

    assert (problem_of(text, 10**9) is None) == reference(value)
