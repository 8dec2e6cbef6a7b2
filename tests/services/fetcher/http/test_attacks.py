"""Each attack of a hostile server fails its window with its cause. The process goes on, in bounded time and memory."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from simulator.hostile.attacks import ATTACKS
from simulator.hostile.script import JSON, Action, Attack, HostileRequest, response
from simulator.hostile.server import HostileServer
from tests.processes import killed_at_end
from tests.services.fetcher.http.visitor import PARALLEL, Visit
from tests.services.fetcher.synthetic_documents import body, event
from tests.serving import serving
from tests.waiting import DEADLINE_S

MAX_RSS_MB = 250
EVENTS = body("cards", [event(number) for number in range(1, 97)])
# Longer than the deadline, so that the deadline and not the limit of one read ends the exchange.
READ_S = 3600
SHORT_S, LONG_S = 1.5, DEADLINE_S

PROTOCOL = r"RemoteProtocolError|ReadError"
LATE = r"not complete within 1\.5 s"
NOT_JSON = r"expected JSON with events in `cards`"
ENCODING = r"expected the content encoding gzip or none"
MARKUP = r"expected JSON, got a page of markup"
TOO_MANY_REDIRECTS = r"expected at most 3 redirects"
OTHER_HOST = r"a redirect to another host is not followed"
NO_URL = r"expected a redirect to "
TOO_LARGE = r"expected at most 4,194,304 bytes"
ACCEPTED = ""
CAUSES = {
    "header-drip": LATE,
    "endless-header-drip": LATE,
    "body-drip": LATE,
    "chunk-drip": LATE,
    "tiny-chunks": r"expected at most 50,000 chunks",
    "gzip-header-drip": LATE,
    "silence": LATE,
    "endless-informational": LATE,
    "informational-flood": r"expected at most 131,072 bytes",
    "endless-body": TOO_LARGE,
    "endless-chunk-extension": PROTOCOL,
    "endless-trailers": PROTOCOL,
    "switch-protocols": PROTOCOL,
    "reset": PROTOCOL,
    "cut": PROTOCOL,
    "cut-without-length": NOT_JSON,
    "no-response": PROTOCOL,
    "length-too-large": PROTOCOL,
    "length-too-small": NOT_JSON,
    "length-negative": PROTOCOL,
    "length-enormous": PROTOCOL,
    "two-lengths": PROTOCOL,
    "length-and-chunks": NOT_JSON,
    "broken-chunk": PROTOCOL,
    "missing-last-chunk": PROTOCOL,
    "unknown-transfer-encoding": PROTOCOL,
    "garbage": PROTOCOL,
    "tls-alert": r"ConnectError: .*SSL",
    "tls-handshake-drip": LATE,
    "gzip-bomb": TOO_LARGE,
    "deflate-bomb": ENCODING,
    "zstd-bomb": ENCODING,
    "stacked-bomb": ENCODING,
    "hidden-stack": NOT_JSON,
    "stacked-in-two-headers": ENCODING,
    "unknown-encoding": ENCODING,
    "deflate": ENCODING,
    "gzip-damaged": r"expected a body in gzip",
    "gzip-cut": r"ends inside its gzip member",
    "gzip-with-tail": r"expected one gzip member",
    "gzip-many-members": r"expected one gzip member",
    "gzip-only-in-name": r"expected a body in gzip",
    "redirect-loop": TOO_MANY_REDIRECTS,
    "redirect-chain": TOO_MANY_REDIRECTS,
    "redirect-to-other-host": OTHER_HOST,
    "redirect-to-other-port": OTHER_HOST,
    "redirect-to-private-address": OTHER_HOST,
    "redirect-to-lower-scheme": TOO_MANY_REDIRECTS,  # this server speaks http; test_client.py has the case of https
    "redirect-to-file": NO_URL,
    "redirect-to-user": NO_URL,
    "redirect-to-nowhere": NO_URL,
    "redirect-to-invalid-url": NO_URL,
    "redirect-not-ascii": NO_URL,
    "huge-redirect": r"at most 32,768 bytes of headers",
    "redirect-with-endless-body": TOO_MANY_REDIRECTS,
    "huge-header": rf"{PROTOCOL}|expected at most 131,072 bytes",
    "large-header": r"at most 32,768 bytes of headers",
    "many-headers": r"at most 128 headers",
    "non-ascii-tag": PROTOCOL,
    "non-ascii-headers": ACCEPTED,
    "control-characters": PROTOCOL,
    "folded-header": ACCEPTED,
    "published-in-future": ACCEPTED,
    "published-in-1970": ACCEPTED,
    "invalid-date": ACCEPTED,
    "block-page": MARKUP,
    "block-page-as-json": MARKUP,
    "forbidden": r"got 403",
    "wrong-content-type": r"got the content type 'image/png'",
    "too-many-requests": r"429",
    "unavailable": r"503",
    "unavailable-for-years": r"503",
    "unavailable-without-end": r"503",
    "unavailable-slowly": r"503",
    "no-content": r"got 204",
    "partial-content": r"got 206",
    "unknown-status": r"got 999",
    "unrequested-not-modified": r"got 304",
    "junk-numbers": NOT_JSON,
    "junk-objects": r"expected at most 2,000 events",
    "some-junk": ACCEPTED,
    "nested-inside": NOT_JSON,
    "nested-beside": NOT_JSON,
    "huge-slice": ACCEPTED,
    "huge-number": ACCEPTED,
    "repeated-events": r"expected at most 2,000 events",
    "invalid-utf8": NOT_JSON,
    "lone-surrogate": NOT_JSON,
    "empty-body": NOT_JSON,
    "null-document": NOT_JSON,
    "other-shape": NOT_JSON,
    "no-events": ACCEPTED,
    "half-a-document": NOT_JSON,
    "other-day": r"expected events of 2031-05-04",
    "byte-order-mark": NOT_JSON,
}
# Their headers are complete at once, so their cause is not the time.
SLOW = {"unavailable-slowly"}


def honest(request: HostileRequest) -> Iterator[Action]:
    yield response(200, JSON, request.body)


HONEST = Attack("honest", "the document", honest)


class Visitor:
    """A visiting process and the server that it visits."""

    def __init__(self, server: HostileServer, process: subprocess.Popen[str]) -> None:
        self.server = server
        self.attack = HONEST
        self._process = process
        server.attack_of = lambda _: self.attack

    def visit(self, attack: Attack, total_s: float) -> Visit:
        self.attack = attack
        url = self.server.url.replace("http:", "https:") if attack.before_request else self.server.url
        http = {"connect_timeout_s": READ_S, "read_timeout_s": READ_S, "total_timeout_s": total_s}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"url": url, "http": http}) + "\n")
        self._process.stdin.flush()
        answer: list[Any] = json.loads(self._process.stdout.readline())
        return Visit(*answer)


@pytest.fixture(scope="module")
def visitor(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Iterator[Visitor]:
    command = [sys.executable, "-m", "tests.services.fetcher.http.visitor", str(tmp_path_factory.mktemp("archive"))]
    server = HostileServer(("127.0.0.1", 0), lambda _: HONEST, lambda _: EVENTS)
    pipe = subprocess.PIPE
    with (
        serving(server),
        killed_at_end(subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=repository)) as process,
    ):
        yield Visitor(server, process)
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(DEADLINE_S) == 0


def test_each_attack_has_an_expected_cause() -> None:
    assert set(CAUSES) == set(ATTACKS)


def test_a_plausible_attack_is_one_that_a_single_response_does_not_show() -> None:
    assert {name for name, cause in CAUSES.items() if cause == ACCEPTED} == {
        name for name, attack in ATTACKS.items() if attack.is_plausible
    }


@pytest.mark.parametrize("name", CAUSES)
def test_an_attack_fails_its_window_with_its_cause(visitor: Visitor, name: str) -> None:
    before = visitor.visit(HONEST, LONG_S)
    expected = CAUSES[name]

    visit = visitor.visit(ATTACKS[name], SHORT_S if expected == LATE or name in SLOW else LONG_S)

    assert visit.states == ["done" if expected == ACCEPTED else "failed"] * PARALLEL, visit.causes
    assert all(re.search(expected, cause) for cause in visit.causes), visit.causes
    assert not any(cause.startswith("unexpected") for cause in visit.causes)
    assert visit.peak_rss_mb < MAX_RSS_MB
    assert visit.seconds < DEADLINE_S
    assert (visit.descriptors, visit.threads) == (before.descriptors, before.threads)


def test_an_honest_response_is_accepted_after_all_attacks(visitor: Visitor) -> None:
    visit = visitor.visit(HONEST, LONG_S)

    assert (visit.states, visit.records) == (["done"] * PARALLEL, 96 * PARALLEL)


@pytest.mark.parametrize("name", ["reset", "cut"])
def test_a_connection_that_ends_at_any_byte_fails_the_window(visitor: Visitor, name: str) -> None:
    length = len(response(200, JSON, EVENTS))
    steps = [*range(0, 120, 7), *range(120, length, length // 20)]
    causes = []
    for position in steps:
        visitor.server.draw = position / length
        causes += visitor.visit(ATTACKS[name], LONG_S).causes
    visitor.server.draw = 0.5

    assert [cause for cause in causes if not re.search(PROTOCOL, cause)] == []
