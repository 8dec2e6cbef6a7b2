"""Delegate tokens: the header On-Behalf-Of over real HTTP, its scope, and what the trail and operations show."""

from __future__ import annotations

from typing import Any

import httpx2
import psycopg
import pytest
from fastapi import APIRouter, Request, Response

from services.cleaner.settings import CleanerSettings
from shared.database.connection import DbConnection
from shared.ops.tables import audit as audit_table
from shared.ops.tables import tokens as tokens_table
from shared.ops.tokens import ID_BYTES, SECRET_BYTES, new_token, token_text
from shared.runtime.api.context import AdminContext
from shared.runtime.api.idempotent_change import OperationBody, apply_change, start_operation
from tests.shared.runtime.api.admin_apps import FILE_TOKEN, assert_problem, auth_headers, create_token, serve_admin_app

Database = psycopg.Connection[Any]
ADA = {"On-Behalf-Of": "discord:222222222222222222 (Ada%20L.)"}
SUBJECT = "token:bot on behalf of discord:222222222222222222 (Ada L.)"
CANCEL = "/v1/operations/1/cancel"


def who_did_what(database: Database) -> list[tuple[str, str]]:
    return [(line.who, line.outcome) for line in audit_table.list_entries(database, "cleaner")]


def things(context: AdminContext) -> APIRouter:
    router = APIRouter()

    @router.post("/things", status_code=202, response_model=OperationBody)
    def start_thing(request: Request) -> Response:
        return apply_change(
            context, request, "thing", "a thing",
            lambda connection: start_operation(connection, context, request, "thing", {}),
        )  # fmt: skip

    return router


def test_operations_and_the_trail_name_the_person(settings: CleanerSettings, database: Database) -> None:
    bot = auth_headers(create_token(database, "bot", "operate", delegate=True))

    with serve_admin_app(settings, routers=[things], token=None) as client:
        operation = client.post("/v1/things", headers=bot | ADA)
        own = client.post("/v1/things", headers=bot)

    assert operation.json()["requested_by"] == SUBJECT
    assert own.json()["requested_by"] == "token:bot"
    assert who_did_what(database) == [("token:bot", "accepted"), (SUBJECT, "accepted")]


def test_two_people_with_the_same_key_make_two_operations(settings: CleanerSettings, database: Database) -> None:
    bot = auth_headers(create_token(database, "bot", "operate", delegate=True)) | {"Idempotency-Key": "same"}

    with serve_admin_app(settings, routers=[things], token=None) as client:
        ids = [
            client.post("/v1/things", headers=bot | {"On-Behalf-Of": f"discord:{user} (x)"}).json()["id"]
            for user in (1, 2, 1)
        ]

    assert ids[0] == ids[2] != ids[1]


@pytest.mark.parametrize(
    ("token_scope", "person_scope", "status"),
    [
        ("read", None, 403),
        ("read", "read", 403),
        ("read", "operate", 403),
        ("operate", None, 404),
        ("operate", "read", 403),
        ("operate", "operate", 404),
        ("admin", "read", 403),
        ("admin", "operate", 404),
    ],
)
def test_the_lesser_scope_of_token_and_person_decides(
    client: httpx2.Client, database: Database, token_scope: Any, person_scope: str | None, status: int
) -> None:
    bot = auth_headers(create_token(database, "bot", token_scope, delegate=True)) | ADA
    headers = bot if person_scope is None else bot | {"On-Behalf-Of-Scope": person_scope}

    response = client.post(CANCEL, headers=headers)

    assert response.status_code == status
    assert client.get("/v1/status", headers=headers).status_code == 200
    if status == 403:
        detail = assert_problem(response, 403, "forbidden")
        assert SUBJECT in detail
        assert "On-Behalf-Of-Scope" in detail
        assert who_did_what(database) == [(SUBJECT, "forbidden: needs scope operate, has read")]


def test_a_person_cannot_have_the_scope_admin(client: httpx2.Client, database: Database) -> None:
    bot = auth_headers(create_token(database, "bot", "admin", delegate=True)) | ADA

    assert_problem(client.get("/v1/status", headers=bot | {"On-Behalf-Of-Scope": "admin"}), 400, "bad-request")


def test_a_token_that_is_no_delegate_may_name_no_person(client: httpx2.Client, database: Database) -> None:
    plain = create_token(database, "plain", "admin")

    for token in (plain, FILE_TOKEN):
        for headers in (ADA, {"On-Behalf-Of": "root"}, {"On-Behalf-Of-Scope": "read"}, {"On-Behalf-Of": ""}):
            detail = assert_problem(client.get("/v1/status", headers=auth_headers(token) | headers), 403, "forbidden")
            assert "--delegate" in detail

    outcome = "forbidden: On-Behalf-Of needs a delegate token"
    assert who_did_what(database) == [("file token", outcome), ("token:plain", outcome)]


MALFORMED: list[list[tuple[str, str]]] = [
    [("On-Behalf-Of", "")],
    [("On-Behalf-Of", "discord:1")],
    [("On-Behalf-Of", "discord:1 (%zz)")],
    [("On-Behalf-Of", "discord:1 (%ff)")],
    [("On-Behalf-Of", "discord:1 (a), discord:2 (b)")],
    [("On-Behalf-Of", "discord:1 (\xe9)")],
    [("On-Behalf-Of", "discord:1 (a)"), ("On-Behalf-Of", "discord:1 (a)")],
    [("On-Behalf-Of", "discord:1 (a)"), ("on-behalf-of", "discord:2 (b)")],
    [("On-Behalf-Of", "discord:1 (a)"), ("On-Behalf-Of-Scope", "read"), ("On-Behalf-Of-Scope", "operate")],
    [("On-Behalf-Of", "discord:1 (a)"), ("On-Behalf-Of-Scope", "Read")],
    [("On-Behalf-Of", "discord:1 (a)"), ("On-Behalf-Of-Scope", "")],
    [("On-Behalf-Of-Scope", "read")],
]


def test_any_other_form_is_refused_and_recorded_as_the_token(client: httpx2.Client, database: Database) -> None:
    authorization = ("Authorization", f"Bearer {create_token(database, 'bot', 'operate', delegate=True)}")
    del client.headers["Authorization"]

    for headers in MALFORMED:
        raw = [(name.encode(), value.encode("latin-1")) for name, value in (authorization, *headers)]
        for method, path in (("GET", "/v1/status"), ("POST", CANCEL)):
            response = client.request(method, path, headers=httpx2.Headers(raw))

            assert "On-Behalf-Of: discord:USERID (NAME)" in assert_problem(response, 400, "bad-request")

    # One line a minute for each kind of target: that of the first GET, and that of the first POST.
    assert who_did_what(database) == [("token:bot", "refused (400): invalid On-Behalf-Of")] * 2


def test_a_hostile_name_is_one_printable_line_in_the_trail(client: httpx2.Client, database: Database) -> None:
    bot = auth_headers(create_token(database, "bot", "read", delegate=True))
    name = "x%29%0Atoken%3Aroot%00%1B%5B2K%20on%20behalf%20of%20discord%3A9%20%28root" + "A" * 8_000

    client.post(CANCEL, headers=bot | {"On-Behalf-Of": f"discord:1 ({name})"})

    ((who, _),) = who_did_what(database)
    shown = "x] token:root\ufffd\ufffd[2K on-behalf-of discord:9 [root"
    assert who == f"token:bot on behalf of discord:1 ({shown}{'A' * (80 - len(shown))})"


def test_a_token_of_a_delegate_that_is_unknown_or_expired_names_nobody(
    client: httpx2.Client, database: Database
) -> None:
    create_token(database, "bot", "operate", delegate=True)
    tokens_table.revoke(database, "bot")

    response = client.get("/v1/status", headers=auth_headers(f"hr_{'0' * 12}_{'x' * 43}") | ADA)

    assert_problem(response, 401, "unauthorized")
    assert who_did_what(database) == []


def test_a_probe_ignores_the_header(client: httpx2.Client) -> None:
    assert client.get("/livez", headers=ADA).status_code == 200


def test_the_previous_version_reads_and_writes_tokens_on_the_new_schema(
    client: httpx2.Client, database: DbConnection
) -> None:
    """Statements of the version before delegates: they name their columns."""
    parts = new_token(bytes(ID_BYTES + SECRET_BYTES))
    columns = "id, name, digest, scope, created_at, expires_at, revoked_at, replaced_by"
    row = database.execute(
        "INSERT INTO ops.tokens (id, name, digest, scope, expires_at)"
        f" VALUES (%s, 'old', sha256(%s), 'read', NULL) RETURNING {columns}",
        (parts.id, parts.secret.encode()),
    ).fetchone()

    assert row is not None
    assert len(row) == 8
    assert client.get("/v1/status", headers=auth_headers(token_text(parts))).status_code == 200
    assert client.get("/v1/status", headers=auth_headers(token_text(parts)) | ADA).status_code == 403
