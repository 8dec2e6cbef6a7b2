"""The REST API of replays: plans, executions, refusals and repeated requests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx2
import psycopg
import pytest

from services.cleaner.settings import CleanerSettings
from shared.broker.postgres import retention
from shared.broker.postgres.broker import PostgresBroker
from shared.ops.tables import operations as operations_table
from shared.runtime.api import replays
from shared.runtime.api.context import AdminContext
from shared.runtime.api.server import admin_server
from shared.runtime.metrics import Metrics
from shared.topics import RAW
from tests.shared.runtime.api.admin_apps import FILE_TOKEN, assert_problem, auth_headers
from tests.shared.runtime.loop_harness import append, open_broker, raw
from tests.shared.runtime.views import GivenView

pytestmark = pytest.mark.slow
Database = psycopg.Connection[Any]
RECORDS = 20
DAY = "made-up:2031-05-04"


@pytest.fixture
def database_url(url: str) -> str:
    """An emptied database: to create a new one takes a second."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("TRUNCATE ops.operations, ops.plans, ops.idempotency")
    return url


@pytest.fixture
def broker(database_url: str) -> Iterator[PostgresBroker]:
    broker = open_broker(database_url)
    append(broker, [raw(number, f"2031-05-0{4 + number % 2}:01:{number:02d}") for number in range(RECORDS)])
    yield broker
    broker.close()


@pytest.fixture
def client(settings: CleanerSettings, broker: PostgresBroker) -> Iterator[httpx2.Client]:
    context = AdminContext(
        settings,
        GivenView(service="cleaner"),
        pausable_topics=[RAW],
        routers=[replays.router],
        open_broker=lambda: PostgresBroker(settings.database.conninfo()),
    )
    with (
        admin_server(context, Metrics().registry) as server,
        httpx2.Client(base_url=f"{server.url}/v1", headers=auth_headers(FILE_TOKEN), timeout=60) as client,
    ):
        yield client


def post_replay(client: httpx2.Client, **fields: Any) -> httpx2.Response:
    return client.post("/replays", json={"topic": RAW, **fields})


def execute_plan(client: httpx2.Client, plan_id: str, **fields: Any) -> httpx2.Response:
    return client.post("/replays", json={"plan_id": plan_id, **fields})


def test_a_dry_run_counts_and_does_nothing(client: httpx2.Client, database: Database) -> None:
    answer = post_replay(client, keys=[f"{DAY}:*"], dry_run=True)

    body = answer.json()
    assert answer.status_code == 200
    assert body["records"] == sum(each["records"] for each in body["partitions"]) == RECORDS // 2
    assert body["first"]["key"].startswith(DAY)
    assert operations_table.list_operations(database, "cleaner") == []


def test_a_replay_is_an_operation_that_waits_for_a_worker(client: httpx2.Client) -> None:
    answer = post_replay(client, rate=5, notify=True)

    operation = client.get(answer.headers["location"].removeprefix("/v1")).json()
    assert answer.status_code == 202
    assert (operation["kind"], operation["state"]) == ("replay", "waiting")
    assert (operation["target"]["selected"], operation["target"]["notify"]) == (RECORDS, True)


def test_a_plan_is_executed_unchanged_although_records_were_appended_since(
    client: httpx2.Client, broker: PostgresBroker
) -> None:
    plan = post_replay(client, dry_run=True).json()
    append(broker, [raw(number, "later") for number in range(5)])

    operation = execute_plan(client, plan["plan_id"].lstrip("0")).json()

    assert operation["target"]["plan_id"] == plan["plan_id"]
    assert operation["target"]["selected"] == RECORDS
    assert operation["target"]["spans"] == {
        str(each["partition"]): [each["begin"], each["end"]] for each in plan["partitions"]
    }


def test_a_plan_is_executed_once_unless_requested_again(client: httpx2.Client) -> None:
    plan_id = post_replay(client, dry_run=True).json()["plan_id"]
    first = execute_plan(client, plan_id).json()["id"]
    client.post(f"/operations/{first}/cancel")

    assert '"again": true' in assert_problem(execute_plan(client, plan_id), 409, "conflict")
    assert execute_plan(client, plan_id, again=True).status_code == 202


def test_a_plan_cut_by_retention_is_refused_with_the_earliest_offsets(
    client: httpx2.Client, broker: PostgresBroker, database: Database
) -> None:
    plan_id = post_replay(client, dry_run=True).json()["plan_id"]
    append(broker, [raw(number, str(number)) for number in range(RECORDS)])
    database.execute("UPDATE broker.topics SET retention_s = 60 WHERE name = %s", (RAW,))
    database.execute("UPDATE broker.log SET last_ms = 0 WHERE base_off = 0")
    retention.enforce(database)

    detail = assert_problem(execute_plan(client, plan_id), 409, "conflict")

    earliest = broker.begin_offsets(broker.partitions(RAW))
    assert all(f"{tp.topic}/{tp.partition}: {offset}" in detail for tp, offset in earliest.items())


def test_a_missing_plan_is_named(client: httpx2.Client) -> None:
    assert "no plan 000000099999" in assert_problem(execute_plan(client, "99999"), 422, "invalid-input")


def test_overlapping_replays_are_refused_and_others_are_not(client: httpx2.Client) -> None:
    first = post_replay(client, keys=[f"{DAY}:*"]).json()["id"]

    assert first in assert_problem(post_replay(client), 409, "conflict")
    assert first in assert_problem(post_replay(client, keys=[f"{DAY}:01:00"]), 409, "conflict")
    assert post_replay(client, keys=["made-up:2031-05-05:*"]).status_code == 202
    client.post(f"/operations/{first}/cancel")
    assert post_replay(client, keys=[f"{DAY}:*"]).status_code == 202


@pytest.mark.parametrize(
    "fields",
    [
        {"topic": "clean-events"},
        {"topic": None},
        {"begin": 9, "end": 3},
        {"offsets": {"7": {}}},
        {"from": "2031-05-04T00:00:00"},
        {"keys": []},
        {"keys": "x"},
        {"kinds": ["guessed"]},
        {"rate": -1},
        {"again": True},
        {"plan_id": "x"},
        {"plan_id": "1"},
        {"offsets": [1, 2]},
        {"notify": "perhaps"},
    ],
)
def test_an_invalid_request_starts_nothing(client: httpx2.Client, database: Database, fields: dict[str, Any]) -> None:
    assert_problem(post_replay(client, **fields), 422, "invalid-input")
    assert operations_table.list_operations(database, "cleaner") == []


@pytest.mark.parametrize("body", ["[]", "null", "3", '"raw-events"', "{}"])
def test_a_body_of_another_form_is_invalid(client: httpx2.Client, body: str) -> None:
    answer = client.post("/replays", content=body, headers={"Content-Type": "application/json"})

    assert_problem(answer, 422, "invalid-input")


def test_a_repeated_request_starts_one_replay(client: httpx2.Client, database: Database) -> None:
    key = {"Idempotency-Key": "night-shift"}
    first, second = (client.post("/replays", json={"topic": RAW}, headers=key) for _ in range(2))

    assert first.json() == second.json()
    assert len(operations_table.list_operations(database, "cleaner")) == 1


def test_refusals_are_in_the_trail_too(client: httpx2.Client, database: Database) -> None:
    post_replay(client)
    post_replay(client)
    post_replay(client, topic="clean-events")

    rows = database.execute("SELECT outcome FROM ops.audit WHERE action = 'replay' ORDER BY id DESC LIMIT 3")
    outcomes = [str(outcome)[:13] for (outcome,) in rows][::-1]
    assert outcomes == ["accepted", "refused (409)", "refused (422)"]
