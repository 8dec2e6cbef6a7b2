"""A short attack on one admin API, and the checks that judge an attack."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import pytest

from headrace.database.embedded import EmbeddedPostgres
from shared.broker.postgres.broker import PostgresBroker
from shared.database.connection import DbConnection
from shared.runtime.api.connection_table import ConnectionLimits
from shared.runtime.api.context import AdminContext
from shared.runtime.api.server import AdminServer, admin_server
from shared.runtime.metrics import Metrics
from shared.topics import RAW, topic_specs
from tests.attack.attempts import TOKENS, Attempt, Way, attempts_of, flood
from tests.attack.client import Outcome, attack
from tests.attack.judge import complaints, responses_in, statuses
from tests.attack.processes import Holdings, holdings_of, leaks
from tests.shared.runtime.api.admin_apps import as_role, cleaner_settings, create_token, write_token_file
from tests.shared.runtime.views import GivenView
from tests.waiting import wait_until

REQUESTS, CLIENTS = 300, 20
LIMITS = ConnectionLimits(head_s=1.0, body_s=1.0, idle_s=1.0, send_s=1.0)
PROBLEM = b'{"type":"urn:headrace:problem:not-found","title":"Not found","status":404,"detail":"%s","request_id":"1"}'


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def server(metrics: Metrics, postgres: EmbeddedPostgres, database_url: str, tmp_path: Path) -> Iterator[AdminServer]:
    with closing(PostgresBroker(database_url)) as broker:
        broker.ensure_topics(topic_specs())
    settings = cleaner_settings(as_role(postgres, database_url, "headrace_cleaner"), write_token_file(tmp_path))
    context = AdminContext(
        settings, GivenView("cleaner"), pausable_topics=[RAW], open_broker=lambda: PostgresBroker(database_url)
    )
    with admin_server(context, metrics.registry, metrics.count_request, metrics.count_response, LIMITS) as server:
        yield server


def test_every_refusal_of_an_attack_says_what_to_do_and_is_counted_and_nothing_leaks(
    server: AdminServer, metrics: Metrics, database: DbConnection
) -> None:
    tokens: dict[str, str | None] = dict.fromkeys(TOKENS)
    for scope in ("read", "operate", "admin"):
        tokens[scope] = create_token(database, scope, scope)
    document = httpx2.get(f"{server.url}/openapi.json", timeout=60).json()
    attempts = [each for each in attempts_of(document, tokens) if each.way in {Way.WHOLE, Way.CUT, Way.RESET, Way.HELD}]
    work = [("cleaner", "127.0.0.1", server.port, each) for each in flood(attempts, REQUESTS, seed=3)]
    attack(work[:CLIENTS], CLIENTS)
    before = {"cleaner": holdings_of(os.getpid())}
    counted = counts(metrics)

    outcomes = attack(work, CLIENTS)

    seen = statuses(outcomes)
    assert sorted(complaints(outcomes)) == []
    assert {
        status for status, count in seen.items() if counts(metrics)[status] - counted.get(status, 0) < count
    } == set()
    assert seen.keys() > {"200", "400", "401", "403", "404", "408", "422"}
    wait_until(lambda: not list(leaks(before, {"cleaner": holdings_of(os.getpid())})), "the end of all descriptors")
    assert httpx2.get(f"{server.url}/livez", timeout=60).status_code == 200


def counts(metrics: Metrics) -> dict[str, float]:
    return {
        sample.labels["status"]: sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name == "headrace_http_requests_total"
    }


def answer(body: bytes, kind: bytes = b"application/problem+json", status: bytes = b"404 Not Found") -> bytes:
    return b"HTTP/1.1 %s\r\ncontent-type: %s\r\ncontent-length: %d\r\n\r\n%s" % (status, kind, len(body), body)


@pytest.mark.parametrize(
    ("received", "complaint"),
    [
        (answer(PROBLEM % b"use another"), None),
        (answer(b"x", b"text/plain", b"200 OK"), None),
        (answer(PROBLEM % b"no such thing"), "does not say what to do"),
        (answer(PROBLEM % b"use another", b"application/json"), "a refusal of type application/json"),
        (answer(b"{}"), "a problem with the fields"),
        (answer(b"oops"), "is not JSON"),
        (answer(PROBLEM % b"use another", status=b"403 Forbidden"), "another status"),
        (answer(b"Internal Server Error", b"text/plain", b"500 X"), "a refusal of type text/plain"),
        (b"", "no response"),
    ],
)
def test_a_wrong_response_has_a_complaint(received: bytes, complaint: str | None) -> None:
    counts = complaints([Outcome("cleaner", Attempt("x", b"GET / HTTP/1.1\r\n\r\n"), received, is_open=False)])

    assert [complaint is not None and complaint in each for each in counts] == ([] if complaint is None else [True])


def test_a_connection_that_is_not_ended_has_a_complaint() -> None:
    (complaint,) = complaints([Outcome("cleaner", Attempt("x", b"GET", Way.HELD), b"", is_open=True)])

    assert "was not ended" in complaint


def test_pipelined_responses_are_separated() -> None:
    received = b"HTTP/1.1 100 Continue\r\n\r\n" + answer(b"one", b"text/plain", b"200 OK") * 2 + answer(b"x")[:-1]

    assert [each.status for each in responses_in(received)] == [200, 200]


@pytest.mark.parametrize("what", ["descriptors", "threads", "memory_mb"])
def test_a_leak_is_reported(what: str) -> None:
    before = Holdings(10, 10, 10)
    after: dict[str, Any] = {what: 1000}

    (found,) = leaks({"cleaner": before}, {"cleaner": before._replace(**after)})

    assert what in found
