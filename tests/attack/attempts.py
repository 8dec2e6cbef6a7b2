"""Generates what an attacker sends to an admin API: requests as bytes, and how they are sent. Pure."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum, auto
from typing import Any, NamedTuple

HOST = b"localhost"
READ_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
NO_TOKEN, WRONG, READ, OPERATE, DELEGATE, ADMIN, EXPIRED = TOKENS = (
    "none", "wrong", "read", "operate", "delegate", "admin", "expired",
)  # fmt: skip
PARAMETERS = (
    "1", "-1", "9" * 40, "%2e%2e%2f%2e%2e", "%00", "%ff%fe", "%F0%9F%90%8E", "a" * 5000, "'%3B--", "%0d%0aX:%20y", "*",
)  # fmt: skip
QUERIES = (
    "limit=-1", "limit=0", "limit=" + "9" * 30, "limit=1&limit=2", "limit=%00", "limit=%ff", "before=x", "nosuch=1",
    "from=20260131", "from=2026-13-45T99:99:99Z", "key=" + "*" * 200, "q" * 9000, "&&&=&", "limit=1e3", "%zz=%",
)  # fmt: skip
BODIES = (
    b"", b"{", b"[]", b"null", b'"x"', b"0", b"\xff\xfe", b'{"nosuch": 1}', b'{"nosuch": "\\u0000"}', b"NaN",
    b"[" * 5000 + b"]" * 5000, b'{"a":' * 40 + b"1" + b"}" * 40, b'{"nosuch": ' + b"9" * 5000 + b"}",
    b'{"nosuch": 1, "nosuch": 2}', b'{"nosuch": "' + b"x" * 1_200_000 + b'"}', b"<a/>", b"a=b",
    b'{"nosuch": "\\ud800"}',
)  # fmt: skip
CONTENT_TYPES = (b"application/json", b"text/plain", b"application/json; charset=utf-16", b"", b"multipart/form-data")
HEADS = (
    b"", b"\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n", b"GET  / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET / HTTP/1.0\r\n\r\n", b"CONNECT localhost:1 HTTP/1.1\r\nHost: localhost\r\n\r\n", b"\x00" * 100 + b"\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n", b"GET http://localhost/livez HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /%s HTTP/1.1\r\nHost: localhost\r\n\r\n" % (b"x" * 9000), b"x" * 400_000,
    b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n",
)  # fmt: skip
HEADERS = (
    b"X: %s" % (b"x" * 17_000), b"\r\n".join([b"X: y"] * 4000), b"X : y", b": y", b"X", b" X: y", b"X: \x00",
    b"Host: localhost", b"Host: evil.example", b"Content-Length: -1", b"Content-Length: 1\r\nContent-Length: 2",
    b"Content-Length: 9" + b"9" * 30, b"Transfer-Encoding: gzip", b"Transfer-Encoding: chunked\r\nContent-Length: 3",
    b"Authorization: Bearer \xc3\xa9", b"Authorization: Bearer", b"Authorization: Basic eDp5",
    b"Authorization: Bearer hr_",
    b"Authorization: Bearer hr_%s_%s" % (b"0" * 12, b"0" * 43), b"Authorization: Bearer a\r\nAuthorization: Bearer b",
    b"On-Behalf-Of: x", b"X-Request-Id: %s" % (b"a" * 9000), b"Upgrade: websocket\r\nConnection: upgrade",
    b"Upgrade: h2c\r\nConnection: upgrade\r\nHTTP2-Settings: AAMAAABk", b"Expect: 100-continue", b"Expect: 999",
    b"Idempotency-Key: %s" % (b"k" * 9000), b"Range: bytes=0-0,0-0", b"X-Forwarded-For: 127.0.0.1", b"X: \xff",
)  # fmt: skip
HOSTS = (
    b"", b"evil.example", b"localhost.evil.example", b"127.0.0.1.nip.example", b"[::1", b"[::1]:80:80", b"a b", b"\xff",
    b"localhost@evil.example", b"x" * 2000, b"localhost\tevil",
)  # fmt: skip
METHODS = (b"HEAD", b"OPTIONS", b"TRACE", b"PATCH", b"BREW", b"get", b"M" * 3000, b"G\x00T")
CHUNKED = (
    b"5\r\nhello\r\n0\r\n\r\n", b"zz\r\n", b"-1\r\n", b"f" * 40 + b"\r\n", b"5\r\nhel", b"2\r\n[]\r\n0\r\n\r\n",
    b"1\r\n[\r\n" * 3000 + b"0\r\n\r\n", b"2\r\n[]\r\n0\r\nX: y\r\n\r\n",
    b"2;ext=%s\r\n[]\r\n0\r\n\r\n" % (b"x" * 20_000),
)  # fmt: skip


class Way(Enum):
    """How the bytes are sent: WHOLE; CUT: then the client ends its side; RESET: then it resets the connection; HELD:
    then it waits; DRIPPED: byte by byte; UNREAD: it reads no response."""

    WHOLE = auto()
    CUT = auto()
    RESET = auto()
    HELD = auto()
    DRIPPED = auto()
    UNREAD = auto()


class Attempt(NamedTuple):
    kind: str
    data: bytes
    way: Way = Way.WHOLE


Endpoint = tuple[str, str, bool]
"""Method, template of the path, and whether it takes a body."""


def endpoints_of(document: Mapping[str, Any]) -> list[Endpoint]:
    return [
        (method.upper(), path, "requestBody" in operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def request(
    method: bytes,
    target: bytes,
    token: str | None = None,
    *,
    body: bytes | None = None,
    host: bytes | None = HOST,
    more: Sequence[bytes] = (),
    closes: bool = True,
) -> bytes:
    lines = [method + b" " + target + b" HTTP/1.1", *([] if host is None else [b"Host: " + host])]
    lines += [] if token is None else [b"Authorization: Bearer " + token.encode()]
    lines += [] if body is None else [b"Content-Type: application/json", b"Content-Length: %d" % len(body)]
    lines += [*more, *([b"Connection: close"] if closes else [])]
    return b"\r\n".join(lines) + b"\r\n\r\n" + (body or b"")


def attempts_of(document: Mapping[str, Any], tokens: Mapping[str, str | None]) -> list[Attempt]:
    """Every kind of attempt on one service, each once. None changes anything if the service is right: a token that may
    change things comes with paths of things that do not exist, or with invalid bodies."""
    endpoints = endpoints_of(document)
    return [
        *attempts_with_tokens(endpoints, tokens),
        *_on_behalf(tokens),
        *_with_strange_urls(endpoints, tokens[READ]),
        *_with_strange_bodies(endpoints, tokens[OPERATE], tokens[ADMIN]),
        *_malformed(tokens[READ]),
        *_slow(tokens[READ], tokens[OPERATE]),
        *_cut(tokens[OPERATE]),
    ]


def flood(attempts: Sequence[Attempt], count: int, seed: int) -> list[Attempt]:
    """`count` attempts in random order: each of `attempts`, then random quick ones again; fewer if there are more."""
    chosen = random.Random(seed)
    quick = [each for each in attempts if each.way is Way.WHOLE]
    many = [*attempts, *chosen.choices(quick, k=max(0, count - len(attempts)))]
    chosen.shuffle(many)
    return many[:count]


def attempts_with_tokens(endpoints: Sequence[Endpoint], tokens: Mapping[str, str | None]) -> Iterator[Attempt]:
    """Each endpoint with each of the tokens, and without one if it is None."""
    for name, token in tokens.items():
        for method, template, _ in endpoints:
            if method not in READ_METHODS and "{" not in template and name in {OPERATE, DELEGATE, ADMIN}:
                body: bytes | None = b'{"nosuch": 1}'
            else:
                body = None if method in READ_METHODS else b"{}"
            yield Attempt(f"token {name}", request(method.encode(), _path(template, "nosuch"), token, body=body))


def _on_behalf(tokens: Mapping[str, str | None]) -> Iterator[Attempt]:
    for person in (b"discord:1 (A)", b"discord:1", b"root", b"\xff", b"discord:1 (%zz)"):
        more = [b"On-Behalf-Of: " + person, b"On-Behalf-Of-Scope: admin"]
        for name in (READ, OPERATE, DELEGATE):
            yield Attempt("on behalf", request(b"GET", b"/v1/status", tokens[name], more=more))
            yield Attempt("on behalf", request(b"GET", b"/v1/status", tokens[name], more=more[:1]))


def _with_strange_urls(endpoints: Sequence[Endpoint], token: str | None) -> Iterator[Attempt]:
    for method, template, _ in endpoints:
        if "{" in template:
            for value in PARAMETERS:
                yield Attempt("path", request(method.encode(), _path(template, value), token))
        elif method == "GET":
            for query in QUERIES:
                yield Attempt("query", request(b"GET", f"{template}?{query}".encode(), token))


def _with_strange_bodies(endpoints: Sequence[Endpoint], *tokens: str | None) -> Iterator[Attempt]:
    for method, template, takes_body in endpoints:
        if not takes_body:
            continue
        path = _path(template, "nosuch")
        for number, body in enumerate(BODIES):
            if body in {b"", b"null"} and "{" not in template:
                continue  # a change without arguments may be valid
            yield Attempt("body", request(method.encode(), path, tokens[number % len(tokens)], body=body))
        for kind in CONTENT_TYPES[1:]:
            head = [b"Content-Type: " + kind, b"Content-Length: 13"]
            yield Attempt("content type", request(method.encode(), path, tokens[0], more=head) + b'{"nosuch": 1}')
        for chunks in CHUNKED:
            head = [b"Content-Type: application/json", b"Transfer-Encoding: chunked"]
            data = request(method.encode(), path, tokens[0], more=head) + chunks
            yield Attempt("chunks", data, Way.CUT)


def _malformed(token: str | None) -> Iterator[Attempt]:
    yield from (Attempt("head", head, Way.CUT) for head in HEADS)
    for target in (b"/livez", b"/v1/status"):
        yield from (Attempt("header", request(b"GET", target, token, more=[more]), Way.CUT) for more in HEADERS)
        yield from (Attempt("host", request(b"GET", target, token, host=host), Way.CUT) for host in (*HOSTS, None))
        yield from (Attempt("method", request(method, target, token), Way.CUT) for method in METHODS)
    for target in (
        b"/",
        b"//",
        b"/v1",
        b"/v1/",
        b"/v1/nosuch",
        b"/../etc/passwd",
        b"/v1/%2e%2e/metrics",
        b"/docs",
        b"*",
    ):
        yield Attempt("target", request(b"GET", target, token), Way.CUT)
    for path, number in ((b"/v1/status", 40), (b"/metrics", 10), (b"/v1/nosuch", 40)):
        single = request(b"GET", path, token, closes=False)
        yield Attempt("pipelined", single * number, Way.CUT)
        yield Attempt("pipelined", single * number, Way.RESET)


def _slow(read: str | None, operate: str | None) -> Iterator[Attempt]:
    head = request(b"POST", b"/v1/replays", operate, more=[b"Content-Type: application/json", b"Content-Length: 99"])
    for data in (b"", b"GET /v1/status HTTP/1.1\r\n", request(b"GET", b"/livez", closes=False) + b"GET /li"):
        yield from [Attempt("half open", data, Way.HELD)] * 3
    yield from [Attempt("slow body", head + b'{"topic', Way.HELD)] * 2
    yield Attempt("slow body", head.replace(b"Bearer ", b"Bearer x"), Way.HELD)
    yield Attempt("slow head", request(b"GET", b"/v1/status", read), Way.DRIPPED)
    yield Attempt("slow body", head + b" " * 60, Way.DRIPPED)
    yield Attempt("unread", request(b"GET", b"/openapi.json", closes=False) * 200, Way.UNREAD)


def _cut(token: str | None) -> Iterator[Attempt]:
    """A request that ends after each of its bytes."""
    whole = request(b"POST", b"/v1/replays", token, body=b'{"nosuch": 1}')
    for end in range(len(whole)):
        yield Attempt("cut", whole[:end], Way.RESET if end % 2 else Way.CUT)


def _path(template: str, value: str) -> bytes:
    return re.sub(r"\{[^}]+\}", lambda _: value, template).encode()
