"""The REST API of operations."""

from __future__ import annotations

from typing import Any

import httpx2
import psycopg

from shared.ops.operations import Operation
from shared.ops.tables import operations as operations_table
from tests.contract.database import read_only
from tests.shared.runtime.api.admin_apps import assert_problem
from tests.waiting import wait_until

Database = psycopg.Connection[Any]


def create_operation(database: Database, kind: str = "replay", service: str = "cleaner") -> Operation:
    return operations_table.create(database, service, kind, {"topic": "raw-events"}, "alice", "r-1")


def ids(answer: httpx2.Response) -> list[str]:
    return [each["id"] for each in answer.json()["operations"]]


def test_an_operation_is_found_by_its_id_with_or_without_leading_zeros(
    client: httpx2.Client, database: Database
) -> None:
    operation = create_operation(database)

    for path in (operation.id, str(int(operation.id))):
        body = client.get(f"/v1/operations/{path}").json()

        assert body["id"] == operation.id
        assert (body["kind"], body["state"], body["target"]) == ("replay", "waiting", {"topic": "raw-events"})


def test_a_missing_operation_is_named(client: httpx2.Client) -> None:
    for method, path in (("GET", "999"), ("POST", "999/cancel"), ("POST", "999/pause"), ("POST", "999/resume")):
        answer = client.request(method, f"/v1/operations/{path}")

        assert "cleaner has no operation 000000000999" in assert_problem(answer, 404, "not-found")


def test_operations_of_other_services_are_not_found(client: httpx2.Client, database: Database) -> None:
    operation = create_operation(database, service="loader")

    assert ids(client.get("/v1/operations")) == []
    assert client.get(f"/v1/operations/{operation.id}").status_code == 404
    assert client.post(f"/v1/operations/{operation.id}/cancel").status_code == 404


def test_a_change_in_a_read_only_database_is_a_temporary_problem(client: httpx2.Client, database: Database) -> None:
    operation = create_operation(database)

    def refusal() -> httpx2.Response | None:
        answer = client.post(f"/v1/operations/{operation.id}/cancel")
        return answer if answer.status_code == 503 else None

    with read_only(database):
        answer = wait_until(refusal)
        assert "read-only" in assert_problem(answer, 503, "unavailable")
        assert answer.headers["retry-after"] == "1"


def test_pages_contain_every_operation_once_newest_first(client: httpx2.Client, database: Database) -> None:
    operation_ids = [create_operation(database).id for _ in range(7)]

    pages: list[list[str]] = []
    before: dict[str, str] = {}
    while True:
        answer = client.get("/v1/operations", params={"limit": 3, **before})
        pages.append(ids(answer))
        if (following := answer.json()["next"]) is None:
            break
        before = {"before": following}

    assert [len(page) for page in pages] == [3, 3, 1]
    assert [each for page in pages for each in page] == operation_ids[::-1]


def test_operations_are_filtered_by_kind_and_state(client: httpx2.Client, database: Database) -> None:
    replay, redrive, pause = (create_operation(database, kind) for kind in ("replay", "redrive", "pause"))
    operations_table.finish(database, redrive.id, "failed", "no reason")

    assert ids(client.get("/v1/operations?kind=replay&kind=pause")) == [pause.id, replay.id]
    assert ids(client.get("/v1/operations?state=failed")) == [redrive.id]
    assert ids(client.get("/v1/operations?state=failed&kind=replay")) == []
    assert_problem(client.get("/v1/operations?state=finished"), 422, "invalid-input")


def test_a_job_is_paused_resumed_and_cancelled(client: httpx2.Client, database: Database) -> None:
    path = f"/v1/operations/{create_operation(database).id}"

    for command, wanted in (("pause", "pause"), ("resume", "run"), ("cancel", "cancel")):
        answer = client.post(f"{path}/{command}")

        assert answer.status_code == 202
        assert answer.headers["location"] == path
        assert answer.headers["retry-after"] == "1"
        assert answer.json()["wanted"] == wanted
    assert client.get(path).json()["state"] == "cancelled"


def test_an_ended_operation_takes_no_commands(client: httpx2.Client, database: Database) -> None:
    operation = create_operation(database)
    operations_table.finish(database, operation.id, "succeeded")

    for command in ("pause", "resume", "cancel"):
        answer = client.post(f"/v1/operations/{operation.id}/{command}")

        assert "has already ended: succeeded" in assert_problem(answer, 409, "conflict")


def test_an_order_cannot_be_cancelled_but_needs_the_opposite_order(client: httpx2.Client, database: Database) -> None:
    answer = client.post(f"/v1/operations/{create_operation(database, 'pause').id}/cancel")

    assert "opposite order" in assert_problem(answer, 409, "conflict")


def test_an_invalid_id_is_refused(client: httpx2.Client) -> None:
    for invalid_id in ("x", "1" * 13, "-1", "1.5", "%F0%9F%92%A5", "١"):
        assert_problem(client.get(f"/v1/operations/{invalid_id}"), 422, "invalid-input")
        assert_problem(client.get(f"/v1/operations?before={invalid_id}"), 422, "invalid-input")
