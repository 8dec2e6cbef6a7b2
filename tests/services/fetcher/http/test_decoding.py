"""Collecting and unpacking a body within a limit."""

from __future__ import annotations

import gzip
import tracemalloc

import pytest

from services.fetcher.http.decoding import BodyCollector
from services.fetcher.http.headers import GZIP, PLAIN
from shared.errors import InvalidDocument

TEXT = bytes(range(256)) * 40


def collected(encoding: str, data: bytes, step: int, max_bytes: int = len(TEXT)) -> bytes:
    collector = BodyCollector(encoding, max_bytes)
    for start in range(0, len(data), step):
        collector.add(data[start : start + step])
    return collector.body()


@pytest.mark.parametrize("step", [1, 7, 65536])
@pytest.mark.parametrize(("encoding", "data"), [(PLAIN, TEXT), (GZIP, gzip.compress(TEXT))])
def test_a_body_of_exactly_the_limit_is_collected(encoding: str, data: bytes, step: int) -> None:
    assert collected(encoding, data, step) == TEXT


@pytest.mark.parametrize("step", [1, 65536])
@pytest.mark.parametrize(("encoding", "data"), [(PLAIN, TEXT), (GZIP, gzip.compress(TEXT))])
def test_a_body_of_one_byte_more_is_refused(encoding: str, data: bytes, step: int) -> None:
    with pytest.raises(InvalidDocument, match="at most 10,239 bytes, got more"):
        collected(encoding, data, step, len(TEXT) - 1)


def test_a_bomb_is_unpacked_only_up_to_the_limit() -> None:
    bomb = gzip.compress(b" " * 100_000_000)
    tracemalloc.start()
    try:
        with pytest.raises(InvalidDocument, match="at most"):
            collected(GZIP, bomb, 65536, 1_000_000)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"plain", "expected a body in gzip"),
        (gzip.compress(TEXT)[:-1], "ends inside its gzip member"),
        (b"", "ends inside its gzip member"),
        (gzip.compress(TEXT) + b"x", "one gzip member"),
        (gzip.compress(TEXT) * 2, "one gzip member"),
    ],
)
def test_a_damaged_gzip_body_is_refused(data: bytes, problem: str) -> None:
    with pytest.raises(InvalidDocument, match=problem):
        collected(GZIP, data, 65536, 10 * len(TEXT))
