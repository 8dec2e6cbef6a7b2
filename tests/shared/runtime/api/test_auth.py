"""Authentication by token, authorization by scope, and refusals."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import pytest

from services.cleaner.settings import CleanerSettings
from shared.ops.tables import tokens as tokens_table
from shared.ops.tokens import SCOPES, parse_token
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

Database = psycopg.Connection[Any]
UNKNOWN = f"hr_{'0' * 12}_{'x' * 43}"


def status(client: httpx2.Client, token: str | None) -> httpx2.Response:
    client.headers.pop("Authorization", None)
    return client.get("/v1/status", headers=auth_headers(token))


HEADERS: dict[str | None, str] = {
    None: "send `Authorization: Bearer TOKEN`",
    "": "the request has no token",
    "Bearer": "the request has no token",
    "Basic eDp5": "the request has no token",
    FILE_TOKEN: "the request has no token",
    "Bearer guess": "hr_ID_SECRET",
    "Bearer hr_": "hr_ID_SECRET",
    f"Bearer {UNKNOWN}x": "hr_ID_SECRET",
    f"Bearer {UNKNOWN}": "this token does not exist",
    "Bearer \xe9\xff": "hr_ID_SECRET",
    f"Bearer {'x' * 10_000}": "hr_ID_SECRET",
}


def test_a_request_without_a_known_token_is_refused(client: httpx2.Client) -> None:
    del client.headers["Authorization"]

    for header, detail in HEADERS.items():
        headers = {} if header is None else {b"Authorization": header.encode("latin-1")}
        for method, path in (("GET", "/v1/status"), ("POST", "/v1/operations/1/cancel"), ("GET", "/v1/nothing")):
            answer = client.request(method, path, headers=headers)

            problem_detail = assert_problem(answer, 401, "unauthorized")
            assert detail in problem_detail
            assert "headrace token create" in problem_detail
            assert answer.headers["www-authenticate"] == 'Bearer realm="headrace"'


def test_a_token_of_any_scope_may_read(client: httpx2.Client, database: Database) -> None:
    for scope in SCOPES:
        assert status(client, create_token(database, f"a-{scope}", scope)).status_code == 200


def test_a_change_needs_the_scope_operate(client: httpx2.Client, database: Database) -> None:
    read, operate, admin = (auth_headers(create_token(database, f"a-{scope}", scope)) for scope in SCOPES)

    refused = client.post("/v1/operations/1/cancel", headers=read)

    detail = assert_problem(refused, 403, "forbidden")
    assert "needs a token of scope operate" in detail
    assert "--scope operate" in detail
    for allowed in (operate, admin):
        assert client.post("/v1/operations/1/cancel", headers=allowed).status_code == 404


def test_a_forbidden_request_is_in_the_trail(client: httpx2.Client, database: Database) -> None:
    token = create_token(database, "viewer", "read")

    client.post("/v1/operations/1/cancel", headers=auth_headers(token) | {"X-Request-Id": "mine-3"})

    (line,) = client.get("/v1/audit").json()["lines"]
    assert line["who"] == "token:viewer"
    assert line["target"] == "POST /v1/operations/1/cancel"
    assert line["outcome"] == "forbidden: needs scope operate, has read"
    assert line["request_id"] == "mine-3"


def test_a_revoked_token_is_refused_from_the_next_request(client: httpx2.Client, database: Database) -> None:
    token = create_token(database, "alice", "admin")
    before = status(client, token)

    tokens_table.revoke(database, "alice")

    assert before.status_code == 200
    assert "'alice' is revoked" in assert_problem(status(client, token), 401, "unauthorized")


def test_an_expired_token_is_refused(client: httpx2.Client, database: Database) -> None:
    token = create_token(database, "alice", "read", timedelta(seconds=-1))

    assert "'alice' is expired" in assert_problem(status(client, token), 401, "unauthorized")


def test_a_known_id_with_another_secret_is_refused(client: httpx2.Client, database: Database) -> None:
    token = create_token(database, "alice", "read")
    other = token[:-1] + ("a" if token[-1] != "a" else "b")

    assert "does not exist" in assert_problem(status(client, other), 401, "unauthorized")


def test_without_a_token_file_the_tokens_of_the_database_are_accepted(
    settings: CleanerSettings, database: Database
) -> None:
    token = create_token(database, "alice", "read")

    with serve_admin_app(cleaner_settings(settings.database, None)) as client:
        assert status(client, FILE_TOKEN).status_code == 401
        assert status(client, token).status_code == 200


def test_without_the_database_the_file_token_is_accepted_and_others_may_retry(tmp_path: Path) -> None:
    with serve_admin_app(cleaner_settings(UNREACHABLE_DATABASE, write_token_file(tmp_path))) as client:
        answer = status(client, UNKNOWN)

        assert status(client, FILE_TOKEN).status_code == 200
        assert "the database is unavailable" in assert_problem(answer, 503, "unavailable")
        assert answer.headers["retry-after"] == "1"


def test_no_token_is_logged_returned_or_stored(
    client: httpx2.Client, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    token = create_token(database, "alice", "read")
    parts = parse_token(token)
    assert parts is not None

    answers = [client.post("/v1/operations/1/cancel", headers=auth_headers(token)), status(client, token + "x")]

    stored = database.execute(
        "SELECT to_jsonb(t)::text FROM ops.tokens t UNION ALL SELECT to_jsonb(a)::text FROM ops.audit a"
    ).fetchall()
    outputs = caplog.text + "".join(answer.text for answer in answers) + "".join(row[0] for row in stored)
    assert len(stored) == 2
    assert parts.secret not in outputs
    assert not re.search(r"hr_[0-9a-f]{12}_", outputs)
