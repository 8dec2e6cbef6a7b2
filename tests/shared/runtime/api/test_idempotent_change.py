"""Changes with an idempotency key are executed once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import httpx2
import psycopg
import pytest
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from services.cleaner.settings import CleanerSettings
from shared.database.connection import DbConnection
from shared.errors import ConfigError
from shared.ops.operations import NotPossible
from shared.ops.tables import operations as operations_table
from shared.runtime.api.context import AdminContext
from shared.runtime.api.idempotent_change import (
    ACCEPTED,
    ChangeResult,
    OperationBody,
    accepted,
    apply_change,
    caller_of,
)
from tests.shared.runtime.api.admin_apps import assert_problem, auth_headers, create_token, serve_admin_app

Database = psycopg.Connection[Any]


class ThingRequest(BaseModel):
    days: int = Field(ge=1)


class ThingsApi:
    """POST /v1/things creates an operation. A request of 666 days is refused; one of 13 days waits for `release`."""

    def __init__(self) -> None:
        self.started, self.release = threading.Event(), threading.Event()
        self.refusal: Exception = NotPossible("it cannot be done: do something else")

    def router(self, context: AdminContext) -> APIRouter:
        router = APIRouter()

        @router.post("/things", status_code=202, response_model=OperationBody, responses=ACCEPTED)
        def create_thing(body: ThingRequest, request: Request) -> Response:
            return self._change(context, body, request)

        @router.put("/things", status_code=202, response_model=OperationBody, responses=ACCEPTED)
        def replace_thing(body: ThingRequest, request: Request) -> Response:
            return self._change(context, body, request)

        return router

    def _change(self, context: AdminContext, body: ThingRequest, request: Request) -> Response:
        def work(connection: DbConnection) -> ChangeResult:
            caller = caller_of(request)
            operation = operations_table.create(
                connection, "cleaner", "thing", {"days": body.days}, caller.subject, caller.request_id
            )
            if body.days == 13:
                self.started.set()
                self.release.wait(60)
            if body.days == 666:
                raise self.refusal
            return accepted(operation)

        return apply_change(context, request, "thing", f"{body.days} days", work)


@pytest.fixture
def things() -> ThingsApi:
    return ThingsApi()


@pytest.fixture
def client(settings: CleanerSettings, things: ThingsApi) -> Iterator[httpx2.Client]:
    with serve_admin_app(settings, routers=[things.router]) as client:
        yield client


def post(client: httpx2.Client, days: int = 3, key: str | None = "k", **more: Any) -> httpx2.Response:
    headers = ({} if key is None else {"Idempotency-Key": key}) | more.pop("headers", {})
    return client.request(more.pop("method", "POST"), "/v1/things", json={"days": days}, headers=headers, **more)


def count(database: Database, table: str) -> int:
    row = database.execute(f"SELECT count(*) FROM ops.{table}").fetchone()
    assert row is not None
    rows: int = row[0]
    return rows


def test_a_repeated_request_with_the_same_key_is_executed_once_and_gets_the_same_response(
    client: httpx2.Client, database: Database
) -> None:
    first, again = post(client), post(client)

    assert first.status_code == again.status_code == 202
    assert first.json() == again.json()
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    for name in ("location", "retry-after", "content-type"):
        assert first.headers[name] == again.headers[name]
    assert count(database, "operations") == count(database, "audit") == 1


def test_the_formatting_of_the_body_does_not_matter(client: httpx2.Client, database: Database) -> None:
    first = post(client)
    again = client.post(
        "/v1/things", content=b'\n{ "days" : 3 }', headers={"Idempotency-Key": "k", "Content-Type": "application/json"}
    )

    assert first.json() == again.json()
    assert count(database, "operations") == 1


def test_another_request_with_the_same_key_is_refused(client: httpx2.Client, database: Database) -> None:
    post(client)

    for other in (post(client, 4), post(client, method="PUT")):
        assert "choose a new key" in assert_problem(other, 422, "invalid-input")
    assert count(database, "operations") == 1


def test_each_caller_has_its_own_keys(client: httpx2.Client, database: Database) -> None:
    token = create_token(database, "alice", "operate")

    first, other = post(client), post(client, 4, headers=auth_headers(token))

    assert first.json()["id"] != other.json()["id"]
    assert other.json()["requested_by"] == "token:alice"


def test_without_a_key_every_request_is_executed(client: httpx2.Client, database: Database) -> None:
    assert post(client, key=None).json()["id"] != post(client, key=None).json()["id"]
    assert count(database, "operations") == 2
    assert count(database, "idempotency") == 0


def test_a_request_is_refused_while_the_first_with_its_key_is_running(
    client: httpx2.Client, things: ThingsApi, database: Database
) -> None:
    answers: list[httpx2.Response] = []
    first = threading.Thread(target=lambda: answers.append(post(client, 13)))
    first.start()
    assert things.started.wait(60)

    second = post(client, 13)
    things.release.set()
    first.join()
    third = post(client, 13)

    assert "still running" in assert_problem(second, 409, "conflict")
    assert second.headers["retry-after"] == "1"
    assert third.json() == answers[0].json()
    assert count(database, "operations") == 1


def test_a_refused_request_leaves_only_a_line_in_the_trail(
    client: httpx2.Client, things: ThingsApi, database: Database
) -> None:
    assert "do something else" in assert_problem(post(client, 666), 409, "conflict")
    things.refusal = ConfigError("there is no such thing: choose another")
    assert "choose another" in assert_problem(post(client, 666), 422, "invalid-input")

    assert count(database, "operations") == count(database, "idempotency") == 0
    outcomes = [line["outcome"] for line in client.get("/v1/audit").json()["lines"]]
    assert outcomes == [
        "refused (422): there is no such thing: choose another",
        "refused (409): it cannot be done: do something else",
    ]


def test_a_request_that_failed_is_executed_when_it_is_sent_again(
    client: httpx2.Client, things: ThingsApi, database: Database
) -> None:
    things.refusal = RuntimeError("an internal error")
    assert_problem(post(client, 666), 500, "internal-error")
    things.refusal = NotPossible("not now")

    assert_problem(post(client, 666), 409, "conflict")
    assert count(database, "operations") == 0


def test_a_response_is_kept_for_48_hours_and_then_deleted_by_the_next_request(
    client: httpx2.Client, database: Database
) -> None:
    first = post(client)
    post(client, key="other")
    database.execute("UPDATE ops.idempotency SET created_at = created_at - interval '47 hours 59 minutes'")
    stored = post(client)
    database.execute("UPDATE ops.idempotency SET created_at = created_at - interval '2 minutes'")

    executed_again = post(client)

    assert stored.json() == first.json()
    assert executed_again.json()["id"] != first.json()["id"]
    assert count(database, "idempotency") == 1


def test_a_put_may_have_a_key_too(client: httpx2.Client, database: Database) -> None:
    assert post(client, method="PUT").json() == post(client, method="PUT").json()
    assert count(database, "operations") == 1
