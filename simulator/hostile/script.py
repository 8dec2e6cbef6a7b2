"""The parts of an attack: what a hostile server does on a connection, in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import NamedTuple

JSON = {"Content-Type": "application/json; charset=utf-8"}


class Pause(NamedTuple):
    """The server waits. It ends the wait when the client disconnects or the server stops."""

    seconds: float


class Reset(NamedTuple):
    """The server resets the connection (RST), so that bytes that the client has not read are lost."""


Action = bytes | Pause | Reset
"""Bytes are sent. After the last action the server closes the connection."""


@dataclass(frozen=True)
class HostileRequest:
    """The request that an attack answers. `body` is the honest document, `url` the server's base URL.

    `draw` (0 to below 1) selects what varies, for example the byte at which a connection is reset. `interval_s` is the
    time between two bytes of a slow response.
    """

    url: str
    path: str
    body: bytes
    draw: float = 0.5
    interval_s: float = 0.2


Script = Callable[[HostileRequest], Iterator[Action]]


@dataclass(frozen=True)
class Attack:
    """One kind of hostile response.

    `is_plausible`: the response is a valid document with wrong content, which one response alone does not show.
    `before_request`: the script runs when the connection is accepted; otherwise after the request's headers.
    """

    name: str
    description: str
    script: Script
    is_plausible: bool = False
    before_request: bool = False


def response(status: int, headers: Mapping[str, str | bytes], body: bytes = b"", length: bool = True) -> bytes:
    """A response as bytes; `length` adds its true Content-Length."""
    return head(status, {**headers, **({"Content-Length": str(len(body))} if length else {})}) + body


def head(status: int, headers: Mapping[str, str | bytes]) -> bytes:
    """The status line and headers. Text is encoded in Latin-1; bytes are sent as they are.

    The server closes each connection after its response and says so. Otherwise a client could send its next request on
    a connection that is being closed, and fail for another reason than the attack.
    """
    lines = [f"HTTP/1.1 {status} {_phrase(status)}".encode()]
    for name, value in {"Connection": "close", **headers}.items():
        lines.append(name.encode() + b": " + (value if isinstance(value, bytes) else value.encode("latin-1")))
    return b"\r\n".join(lines) + b"\r\n\r\n"


def chunk(data: bytes) -> bytes:
    """One chunk of a response with `Transfer-Encoding: chunked`."""
    return b"%x\r\n" % len(data) + data + b"\r\n"


def drip(data: bytes, interval_s: float) -> Iterator[Action]:
    """The data, byte by byte."""
    for number in range(len(data)):
        yield data[number : number + 1]
        yield Pause(interval_s)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Made Up"
