"""Refused requests: the trail and the log cannot be filled, strangers take nothing from operators and learn nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from secrets import token_hex
from typing import Any

import httpx2
import psycopg
import pytest
from structlog.testing import capture_logs

from services.cleaner.settings import CleanerSettings
from shared.runtime.api import throttle
from shared.runtime.api.context import CONNECTIONS
from shared.runtime.api.throttle import NoteThrottle, address_class
from shared.runtime.api.token_lookup import UNKNOWN_S, DatedToken, TokenLookup
from shared.topics import RAW
from tests.shared.runtime.api.admin_apps import (
    FILE_TOKEN,
    UNREACHABLE_DATABASE,
    assert_problem,
    auth_headers,
    cleaner_settings,
    create_token,
    serve_admin_app,
    write_token_file,
)
from tests.shared.runtime.views import GivenView

Database = psycopg.Connection[Any]


def unknown_token() -> str:
    return f"hr_{token_hex(6)}_{'x' * 43}"


def trail(client: httpx2.Client) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = client.get("/v1/audit").json()["lines"]
    return lines


def test_a_token_that_may_only_read_cannot_fill_the_trail(client: httpx2.Client, database: Database) -> None:
    reader = auth_headers(create_token(database, "viewer", "read"))

    for number in range(20):
        client.post(f"/v1/operations/{number}/cancel", headers=reader)
        client.post(f"/v1/no-such-thing-{number}", headers=reader)
        client.put("/v1/topics/pause", headers=reader)
        client.post("/v1/operations/1/cancel", headers=reader | {"On-Behalf-Of": f"discord:{number + 1} (A)"})

    targets = [line["target"].split("?")[0] for line in trail(client)]
    assert sorted(targets) == ["POST /v1/no-such-thing-0", "POST /v1/operations/0/cancel", "PUT /v1/topics/pause"]


def test_a_reading_delegate_cannot_fill_the_trail_with_people(client: httpx2.Client, database: Database) -> None:
    delegate = auth_headers(create_token(database, "bot", "read", delegate=True))

    for number in range(20):
        client.post("/v1/operations/1/cancel", headers=delegate | {"On-Behalf-Of": f"discord:{number + 1} (A)"})

    assert len(trail(client)) == 1


def test_other_tokens_have_lines_of_their_own(client: httpx2.Client, database: Database) -> None:
    for name in ("one", "two"):
        client.post("/v1/operations/1/cancel", headers=auth_headers(create_token(database, name, "read")))

    assert {line["who"] for line in trail(client)} == {"token:one", "token:two"}


def test_a_note_says_how_many_were_left_out() -> None:
    now_s = 0.0
    notes = NoteThrottle(lambda: now_s)

    first, second, other = notes.count("a"), notes.count("a"), notes.count("b")
    now_s = throttle.INTERVAL_S
    later = notes.count("a")

    assert (first, second, other, later) == (0, None, 0, 1)


def test_the_memory_of_notes_is_bounded() -> None:
    notes = NoteThrottle(lambda: 0.0, max_keys=2)

    assert [notes.count(key) for key in ("a", "b", "c", "a")] == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("host", "expected"),
    [("192.0.2.77", "192.0.2.0/24"), ("2001:db8::1:2", "2001:db8::/64"), ("somewhere", "unknown"), ("", "unknown")],
)
def test_clients_are_grouped_by_network(host: str, expected: str) -> None:
    assert address_class(host) == expected


def test_strangers_fill_one_line_of_the_log(client: httpx2.Client) -> None:
    with capture_logs() as logs:
        for _ in range(20):
            assert client.get("/v1/status", headers=auth_headers(unknown_token())).status_code == 401

    (line,) = [each for each in logs if each["event"] == "request_unauthorized"]
    assert (line["client"], line["token_id"], line["suppressed"]) == ("127.0.0.0/24", None, 0)


def test_strangers_take_no_connection_from_operators(settings: CleanerSettings, database: Database) -> None:
    """Every lookup of a token waits for a lock; requests with the file token go on."""
    with (
        serve_admin_app(settings, token=FILE_TOKEN) as client,
        ThreadPoolExecutor(4 * CONNECTIONS) as pool,
        database.transaction(),
    ):
        database.execute("LOCK TABLE ops.tokens IN ACCESS EXCLUSIVE MODE")
        strangers = [
            pool.submit(
                httpx2.get, client.base_url.join("/v1/status"), headers=auth_headers(unknown_token()), timeout=120
            )
            for _ in range(4 * CONNECTIONS)
        ]

        answers = [client.get("/v1/operations").status_code for _ in range(2 * CONNECTIONS)]

        assert answers == [200] * (2 * CONNECTIONS)
        assert not any(each.done() and each.result().status_code == 401 for each in strangers)


def test_many_tokens_at_once_are_each_answered(settings: CleanerSettings, database: Database) -> None:
    tokens = [create_token(database, f"client-{number}", "read") for number in range(10)]
    with serve_admin_app(settings) as client, ThreadPoolExecutor(20) as pool:

        def status(token: str) -> int:
            return httpx2.get(client.base_url.join("/v1/status"), headers=auth_headers(token), timeout=120).status_code

        statuses = list(pool.map(status, [*tokens, *(unknown_token() for _ in range(10))]))

    assert statuses == [200] * 10 + [401] * 10


def test_an_unknown_token_is_answered_from_memory_for_a_short_time() -> None:
    now_s = 0.0
    loaded: list[str] = []

    def load(ids: Collection[str]) -> dict[str, DatedToken]:
        loaded.extend(ids)
        return {}

    async def ask() -> None:
        nonlocal now_s
        lookup = TokenLookup(load, lambda: now_s)
        for moment_s in (0.0, UNKNOWN_S - 0.1, UNKNOWN_S):
            now_s = moment_s
            assert await lookup.find("0" * 12) is None

    asyncio.run(ask())

    assert loaded == ["0" * 12] * 2


def test_strangers_learn_nothing_of_the_cause_of_trouble(tmp_path: Path) -> None:
    cause = 'backing off: connection to "db.internal" as headrace_cleaner failed at record boatrace:2026-01-31:07'
    settings = cleaner_settings(UNREACHABLE_DATABASE, write_token_file(tmp_path))
    with serve_admin_app(settings, GivenView("cleaner", readiness=(False, cause)), token=None) as client:
        stranger = client.get("/readyz")
        operator = client.get("/readyz", headers=auth_headers(FILE_TOKEN))
        wrong = client.get("/v1/status", headers=auth_headers(unknown_token()))

    assert "send a token" in assert_problem(stranger, 503, "unavailable")
    assert "db.internal" not in stranger.text
    assert cause in assert_problem(operator, 503, "unavailable")
    assert "127.0.0.1" not in wrong.text
    assert "nobody" not in wrong.text


@pytest.mark.parametrize("path", ["/livez", "/metrics", "/openapi.json"])
def test_open_endpoints_name_no_host_and_no_role(tmp_path: Path, path: str) -> None:
    settings = cleaner_settings(UNREACHABLE_DATABASE, write_token_file(tmp_path))
    with serve_admin_app(settings, token=None) as client:
        text = client.get(path).text

    assert "nobody@" not in text
    assert "headrace_cleaner" not in text


def test_foreign_hosts_are_refused_on_every_path(tmp_path: Path) -> None:
    settings = cleaner_settings(UNREACHABLE_DATABASE, write_token_file(tmp_path))
    admin = settings.admin.model_copy(update={"allowed_hosts": ("cleaner.example",)})
    with serve_admin_app(settings.model_copy(update={"admin": admin})) as client:

        def statuses(host: str) -> list[int]:
            paths = ("/livez", "/readyz", "/metrics", "/openapi.json", "/v1/status")
            return [client.get(path, headers={"Host": host}).status_code for path in paths]

        for host in ("evil.example", "evil.example:8080", "localhost.evil.example", "127.0.0.1.nip.example", ""):
            assert statuses(host) == [421] * 5
        for host in ("localhost", "127.0.0.1:1", "[::1]:8080", "CLEANER.example:80"):
            assert statuses(host) == [200] * 5
        refused = client.get("/livez", headers={"Host": "evil.example"})
        assert "admin.allowed_hosts" in assert_problem(refused, 421, "misdirected-request")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/dead-letters/discards"),
        ("PUT", "/v1/topics/accept-loss"),
        ("PUT", f"/v1/topics/{RAW}/partitions/0/accept-loss"),
        ("PUT", f"/v1/topics/{RAW}/partitions/0/skip"),
    ],
)
@pytest.mark.parametrize("scope", ["read", "operate"])
def test_what_gives_up_records_needs_the_scope_admin(
    client: httpx2.Client, database: Database, method: str, path: str, scope: Any
) -> None:
    headers = auth_headers(create_token(database, "someone", scope))
    body = {"offset": 0, "reason": "x"} if path.endswith("skip") else {"reason": "x"}

    refused = client.request(method, path, json=body | ({"all": True} if "discards" in path else {}), headers=headers)

    detail = assert_problem(refused, 403, "forbidden")
    assert "scope admin" in detail or scope == "read"
    assert len(trail(client)) == 1


def test_the_document_says_which_changes_need_the_scope_admin(client: httpx2.Client) -> None:
    paths = json.loads(client.get("/openapi.json").text)["paths"]

    assert "Needs scope `admin`." in paths["/v1/dead-letters/discards"]["post"]["description"]
    assert "Needs scope" not in paths["/v1/dead-letters/redrives"]["post"]["description"]
