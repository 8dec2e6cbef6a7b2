"""Attacks on time and on the framing of a response."""

from __future__ import annotations

import gzip
from collections.abc import Iterator

from simulator.hostile.script import JSON, Action, Attack, HostileRequest, Pause, Reset, chunk, drip, head, response

FOREVER_S = 3600.0
BLOCK = b" " * 65536
CHUNKED = JSON | {"Transfer-Encoding": "chunked"}
# The header of a gzip file whose name has no end: a decompressor returns nothing while it is read.
GZIP_WITH_NAME = b"\x1f\x8b\x08\x08\x00\x00\x00\x00\x00\x03"


def header_drip(request: HostileRequest) -> Iterator[Action]:
    yield from drip(response(200, JSON, request.body), request.interval_s)


def endless_header_drip(request: HostileRequest) -> Iterator[Action]:
    yield b"HTTP/1.1 200 OK\r\nX-Slow: "
    while True:
        yield from drip(b"a", request.interval_s)


def body_drip(request: HostileRequest) -> Iterator[Action]:
    yield head(200, JSON | {"Content-Length": str(len(request.body))})
    yield from drip(request.body, request.interval_s)


def chunk_drip(request: HostileRequest) -> Iterator[Action]:
    yield head(200, CHUNKED)
    while True:
        yield chunk(b" ")
        yield Pause(request.interval_s)


def tiny_chunks(_request: HostileRequest) -> Iterator[Action]:
    yield head(200, CHUNKED)
    while True:
        yield chunk(b" ") * 10_000


def gzip_header_drip(request: HostileRequest) -> Iterator[Action]:
    yield head(200, CHUNKED | {"Content-Encoding": "gzip"}) + chunk(GZIP_WITH_NAME)
    while True:
        yield chunk(b"a")
        yield Pause(request.interval_s)


def silence(_target: HostileRequest) -> Iterator[Action]:
    yield Pause(FOREVER_S)


def endless_informational(request: HostileRequest) -> Iterator[Action]:
    while True:
        yield head(103, {"Link": "</style.css>"})
        yield Pause(request.interval_s)


def informational_flood(_target: HostileRequest) -> Iterator[Action]:
    while True:
        yield head(103, {"Link": "</style.css>"}) * 500


def endless_body(_target: HostileRequest) -> Iterator[Action]:
    yield head(200, JSON)
    while True:
        yield BLOCK


def endless_chunk_extension(_target: HostileRequest) -> Iterator[Action]:
    yield head(200, CHUNKED) + b"1;"
    while True:
        yield b"a" * 4096


def endless_trailers(request: HostileRequest) -> Iterator[Action]:
    yield head(200, CHUNKED) + chunk(request.body) + b"0\r\n"
    while True:
        yield b"X-Trailer: a\r\n" * 100


def switch_protocols(request: HostileRequest) -> Iterator[Action]:
    yield head(101, {"Upgrade": "websocket", "Connection": "Upgrade"})
    yield from silence(request)


def _cut(request: HostileRequest) -> bytes:
    """The beginning of the honest response, up to the byte that the draw selects."""
    whole = response(200, JSON, request.body)
    return whole[: int(request.draw * len(whole))]


def reset(request: HostileRequest) -> Iterator[Action]:
    yield _cut(request)
    yield Reset()


def cut(request: HostileRequest) -> Iterator[Action]:
    yield _cut(request)


def cut_without_length(request: HostileRequest) -> Iterator[Action]:
    yield head(200, JSON) + request.body[: int(request.draw * len(request.body))]


def no_response(_target: HostileRequest) -> Iterator[Action]:
    yield Reset()


def length_too_large(request: HostileRequest) -> Iterator[Action]:
    yield response(200, JSON | {"Content-Length": str(len(request.body) + 1000)}, request.body, length=False)


def length_too_small(request: HostileRequest) -> Iterator[Action]:
    yield response(200, JSON | {"Content-Length": str(len(request.body) // 2)}, request.body, length=False)


def length_negative(request: HostileRequest) -> Iterator[Action]:
    yield response(200, JSON | {"Content-Length": "-1"}, request.body, length=False)


def length_enormous(request: HostileRequest) -> Iterator[Action]:
    yield response(200, JSON | {"Content-Length": "9" * 19}, request.body, length=False)
    yield Pause(request.interval_s)


def two_lengths(request: HostileRequest) -> Iterator[Action]:
    lengths = {"Content-Length": str(len(request.body)), "content-length": "1"}
    yield response(200, JSON | lengths, request.body, length=False)


def length_and_chunks(request: HostileRequest) -> Iterator[Action]:
    yield head(200, CHUNKED | {"Content-Length": "5"}) + chunk(request.body[:3]) + b"0\r\n\r\n"


def broken_chunk(request: HostileRequest) -> Iterator[Action]:
    yield head(200, CHUNKED) + chunk(request.body[:10]) + b"not hexadecimal\r\n" + request.body


def missing_last_chunk(request: HostileRequest) -> Iterator[Action]:
    yield head(200, CHUNKED) + chunk(request.body)


def unknown_transfer_encoding(request: HostileRequest) -> Iterator[Action]:
    packed = gzip.compress(request.body)
    yield head(200, JSON | {"Transfer-Encoding": "gzip, chunked"}) + chunk(packed) + b"0\r\n\r\n"


def garbage(_target: HostileRequest) -> Iterator[Action]:
    yield bytes(range(256)) * 16


def tls_alert(_target: HostileRequest) -> Iterator[Action]:
    yield b"\x15\x03\x03\x00\x02\x02\x28"  # fatal, handshake_failure


def tls_handshake_drip(request: HostileRequest) -> Iterator[Action]:
    yield b"\x16\x03\x03\x40\x00"  # a handshake record of 16 KiB
    while True:
        yield from drip(b"\x02", request.interval_s)


ATTACKS = (
    Attack("header-drip", "the whole response, byte by byte", header_drip),
    Attack("endless-header-drip", "one header without an end, byte by byte", endless_header_drip),
    Attack("body-drip", "a complete header, then the body byte by byte", body_drip),
    Attack("chunk-drip", "chunks of one byte without an end", chunk_drip),
    Attack("tiny-chunks", "chunks of one byte without an end, fast", tiny_chunks),
    Attack("gzip-header-drip", "a gzip header without an end, byte by byte", gzip_header_drip),
    Attack("silence", "no byte at all", silence),
    Attack("endless-informational", "status 103 without an end, slowly", endless_informational),
    Attack("informational-flood", "status 103 without an end, fast", informational_flood),
    Attack("endless-body", "a body without an end, fast", endless_body),
    Attack("endless-chunk-extension", "a chunk header without an end", endless_chunk_extension),
    Attack("endless-trailers", "trailers without an end", endless_trailers),
    Attack("switch-protocols", "status 101, then nothing", switch_protocols),
    Attack("reset", "a reset inside the response", reset),
    Attack("cut", "the end of the connection inside the response", cut),
    Attack("cut-without-length", "the end of the connection inside a body of unknown length", cut_without_length),
    Attack("no-response", "a reset instead of a response", no_response),
    Attack("length-too-large", "a Content-Length above the body's", length_too_large),
    Attack("length-too-small", "a Content-Length below the body's", length_too_small),
    Attack("length-negative", "a negative Content-Length", length_negative),
    Attack("length-enormous", "a Content-Length of 19 digits", length_enormous),
    Attack("two-lengths", "two different Content-Lengths", two_lengths),
    Attack("length-and-chunks", "chunks and a Content-Length, with a cut body", length_and_chunks),
    Attack("broken-chunk", "a chunk size that is not hexadecimal", broken_chunk),
    Attack("missing-last-chunk", "chunks without the last one", missing_last_chunk),
    Attack("unknown-transfer-encoding", "Transfer-Encoding: gzip, chunked", unknown_transfer_encoding),
    Attack("garbage", "bytes that are not HTTP", garbage),
    Attack("tls-alert", "a TLS alert in reply to the connection", tls_alert, before_request=True),
    Attack("tls-handshake-drip", "a TLS record byte by byte", tls_handshake_drip, before_request=True),
)
