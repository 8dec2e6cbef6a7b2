"""Attacks with content encodings: bombs, stacked and damaged encodings."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from functools import cache

import zstandard

from simulator.hostile.script import JSON, Action, Attack, HostileRequest, response

BOMB_BYTES = 400_000_000
BLOCK = b" " * 1_000_000
BLOCKS = BOMB_BYTES // len(BLOCK)


def _packed(compressor: zlib._Compress | zstandard.ZstdCompressionObj) -> bytes:
    """BOMB_BYTES spaces, compressed block by block."""
    return b"".join(compressor.compress(BLOCK) for _ in range(BLOCKS)) + compressor.flush()


@cache
def _gzip_bomb() -> bytes:
    return _packed(zlib.compressobj(9, zlib.DEFLATED, 16 + zlib.MAX_WBITS))


@cache
def _deflate_bomb() -> bytes:
    return _packed(zlib.compressobj(9))


@cache
def _zstd_bomb() -> bytes:
    return _packed(zstandard.ZstdCompressor().compressobj())


def _encoded(encoding: str, body: bytes) -> bytes:
    return response(200, JSON | {"Content-Encoding": encoding}, body)


def gzip_bomb(_target: HostileRequest) -> Iterator[Action]:
    yield _encoded("gzip", _gzip_bomb())


def deflate_bomb(_target: HostileRequest) -> Iterator[Action]:
    yield _encoded("deflate", _deflate_bomb())


def zstd_bomb(_target: HostileRequest) -> Iterator[Action]:
    yield _encoded("zstd", _zstd_bomb())


def stacked_bomb(_target: HostileRequest) -> Iterator[Action]:
    yield _encoded("gzip, gzip", gzip.compress(_gzip_bomb()))


def hidden_stack(_target: HostileRequest) -> Iterator[Action]:
    yield _encoded("gzip", gzip.compress(_gzip_bomb()))


def stacked_in_two_headers(request: HostileRequest) -> Iterator[Action]:
    body = gzip.compress(gzip.compress(request.body))
    yield response(200, JSON | {"Content-Encoding": "gzip", "content-encoding": "gzip"}, body)


def unknown_encoding(request: HostileRequest) -> Iterator[Action]:
    yield _encoded("rot13", request.body)


def deflate(request: HostileRequest) -> Iterator[Action]:
    yield _encoded("deflate", zlib.compress(request.body))


def gzip_damaged(request: HostileRequest) -> Iterator[Action]:
    packed = bytearray(gzip.compress(request.body))
    packed[len(packed) // 2] ^= 0xFF
    yield _encoded("gzip", bytes(packed))


def gzip_cut(request: HostileRequest) -> Iterator[Action]:
    packed = gzip.compress(request.body)
    yield _encoded("gzip", packed[: len(packed) // 2])


def gzip_with_tail(request: HostileRequest) -> Iterator[Action]:
    yield _encoded("gzip", gzip.compress(request.body) + b"tail")


def gzip_many_members(_target: HostileRequest) -> Iterator[Action]:
    yield _encoded("gzip", gzip.compress(b"") * 100_000)


def gzip_only_in_name(request: HostileRequest) -> Iterator[Action]:
    yield _encoded("gzip", request.body)


ATTACKS = (
    Attack("gzip-bomb", "400 KB of gzip that hold 400 MB", gzip_bomb),
    Attack("deflate-bomb", "a bomb in an encoding that was not requested", deflate_bomb),
    Attack("zstd-bomb", "13 KB of Zstandard that hold 400 MB", zstd_bomb),
    Attack("stacked-bomb", "a bomb in two layers of gzip", stacked_bomb),
    Attack("hidden-stack", "two layers of gzip, one declared", hidden_stack),
    Attack("stacked-in-two-headers", "two headers Content-Encoding: gzip", stacked_in_two_headers),
    Attack("unknown-encoding", "an encoding that does not exist", unknown_encoding),
    Attack("deflate", "an encoding that was not requested", deflate),
    Attack("gzip-damaged", "gzip with a wrong byte", gzip_damaged),
    Attack("gzip-cut", "half a gzip file with a true Content-Length", gzip_cut),
    Attack("gzip-with-tail", "bytes after the gzip file", gzip_with_tail),
    Attack("gzip-many-members", "100,000 empty gzip members", gzip_many_members),
    Attack("gzip-only-in-name", "Content-Encoding: gzip with a plain body", gzip_only_in_name),
)
