"""The REST API of dead letters, on a real log."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx2
import psycopg
import pytest

from headrace.database.embedded import EmbeddedPostgres
from services.cleaner.settings import CleanerSettings
from services.fetcher.settings import FetcherSettings
from shared.broker.contract import NewRecord
from shared.broker.postgres.broker import PostgresBroker
from shared.ops.tables import jobs as jobs_table
from shared.runtime.api.context import AdminContext
from shared.runtime.api.server import admin_server
from shared.runtime.metrics import Metrics
from shared.settings.sections import ServiceSettings
from shared.topics import RAW
from tests.shared.runtime.api.admin_apps import FILE_TOKEN, as_role, assert_problem, auth_headers
from tests.shared.runtime.loop_harness import append, open_broker
from tests.shared.runtime.views import GivenView

pytestmark = pytest.mark.slow
Database = psycopg.Connection[Any]
REDRIVES, DISCARDS = "/dead-letters/redrives", "/dead-letters/discards"


@pytest.fixture
def database_url(url: str) -> str:
    """An emptied database: to create a new one takes a second."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("TRUNCATE ops.operations, ops.plans, ops.dead_letters_settled")
    return url


@pytest.fixture
def broker(database_url: str) -> Iterator[PostgresBroker]:
    broker = open_broker(database_url)
    yield broker
    broker.close()


def letter(
    offset: int, cause: str = "InvalidEvent", *, redrives: int = 0, key: str = "k", value: bytes = b"{}"
) -> NewRecord:
    headers = {
        "event_id": b"e",
        "dlq.original-topic": RAW.encode(),
        "dlq.original-partition": b"1",
        "dlq.original-offset": str(offset).encode(),
        "dlq.stage": b"handle",
        "dlq.exception-class": cause.encode(),
        "dlq.exception-message": f"about {offset}".encode(),
        "dlq.attempts": b"1",
        "dlq.redrive-count": b"%02d" % redrives,
        "dlq.stack-digest": b"d" * 16,
        "dlq.stack-frame": b"m:f:1",
    }
    return NewRecord("cleaner.dlq", key.encode(), value, headers)


def client_of(settings: ServiceSettings, pausable_topics: list[str]) -> Iterator[httpx2.Client]:
    context = AdminContext(
        settings,
        GivenView(service=settings.name),
        pausable_topics=pausable_topics,
        open_broker=lambda: PostgresBroker(settings.database.conninfo()),
    )
    with (
        admin_server(context, Metrics().registry) as server,
        httpx2.Client(base_url=f"{server.url}/v1", headers=auth_headers(FILE_TOKEN), timeout=60) as client,
    ):
        yield client


@pytest.fixture
def client(settings: CleanerSettings, broker: PostgresBroker) -> Iterator[httpx2.Client]:
    yield from client_of(settings, [RAW, "cleaner.retry"])


def ids(answer: httpx2.Response) -> list[str]:
    return [each["id"] for each in answer.json()["dead_letters"]]


def test_letters_are_listed_newest_first_in_pages(client: httpx2.Client, broker: PostgresBroker) -> None:
    append(broker, [letter(offset) for offset in range(7)])

    pages: list[list[str]] = []
    before: dict[str, str] = {}
    while True:
        answer = client.get("/dead-letters", params={"limit": 3, **before})
        pages.append(ids(answer))
        if answer.json()["next"] is None:
            break
        before = {"before": answer.json()["next"]}

    assert pages == [["0/6", "0/5", "0/4"], ["0/3", "0/2", "0/1"], ["0/0"]]


@pytest.mark.parametrize(
    ("parameters", "letter_ids"),
    [
        ({"cause": "ValueError"}, ["0/1"]),
        ({"key": "made-up:*"}, ["0/2"]),
        ({"topic": "clean-events"}, []),
        ({"state": "open", "from": "2026-01-01T00:00:00Z"}, ["0/2", "0/1", "0/0"]),
        ({"to": "2026-01-01T00:00:00Z"}, []),
    ],
)
def test_a_filter_selects_letters(
    client: httpx2.Client, broker: PostgresBroker, parameters: dict[str, str], letter_ids: list[str]
) -> None:
    append(broker, [letter(0), letter(1, "ValueError"), letter(2, key="made-up:1")])

    assert ids(client.get("/dead-letters", params=parameters)) == letter_ids


def test_a_letter_is_shown_with_the_command_for_its_origin(client: httpx2.Client, broker: PostgresBroker) -> None:
    append(broker, [letter(5, value=b'{"a": [1]}')])

    shown = client.get("/dead-letters/0/0").json()

    assert shown["payload"] == {"encoding": "json", "value": {"a": [1]}, "note": None, "size_bytes": 10}
    assert shown["headers"]["dlq.stack-digest"] == "d" * 16
    assert (shown["letter"]["origin"], shown["letter"]["stack_frame"]) == ("raw-events/1/5", "m:f:1")
    assert shown["show_origin"] == "headrace topics get raw-events 1 5"
    assert shown["message"] == "about 5"
    assert [each["what"] for each in shown["trail"]] == ["failed"]


def test_a_payload_is_cut_at_the_requested_size(client: httpx2.Client, broker: PostgresBroker) -> None:
    append(broker, [letter(5, value=b"x" * 100)])

    shown = client.get("/dead-letters/0/0", params={"limit_bytes": 10}).json()["payload"]

    assert shown == {"encoding": "text", "value": "x" * 10, "note": "the first 10 of 100 bytes", "size_bytes": 100}


def test_a_missing_letter_is_a_problem(client: httpx2.Client) -> None:
    for place in ("0/0", "7/0", "0/999999999999999999"):
        assert place in assert_problem(client.get(f"/dead-letters/{place}"), 404, "not-found")


def test_facets_count_the_filtered_letters(client: httpx2.Client, broker: PostgresBroker) -> None:
    append(broker, [letter(0), letter(1), letter(2, "ValueError")])

    facets = client.get("/dead-letters/facets", params={"topic": RAW}).json()

    assert [(each["value"], each["records"]) for each in facets["causes"]] == [("InvalidEvent", 2), ("ValueError", 1)]
    assert facets["stack_digests"][0]["example"] == "0/2"


def test_a_dry_run_counts_and_its_plan_is_executed_unchanged(
    client: httpx2.Client, broker: PostgresBroker, database: Database
) -> None:
    append(broker, [letter(0), letter(1, redrives=5), letter(2), letter(3, "ValueError")])

    dry_run = client.post(REDRIVES, json={"filter": {"cause": "InvalidEvent"}, "dry_run": True})
    append(broker, [letter(4)])
    response = client.post(REDRIVES, json={"plan_id": dry_run.json()["plan_id"]})

    assert (dry_run.status_code, dry_run.json()["counts"]) == (
        200,
        {"selected": 2, "settled": 0, "over_cap": 1, "unknown": 0},
    )
    assert dry_run.json()["partitions"] == [{"partition": 0, "begin": 0, "end": 3}]
    assert response.status_code == 202
    assert response.json()["target"]["spans"] == {"0": [0, 3]}
    assert jobs_table.claim(database, "cleaner", "w", ["redrive"]) is not None


def test_force_redrives_letters_over_the_cap(client: httpx2.Client, broker: PostgresBroker) -> None:
    append(broker, [letter(1, redrives=5)])

    refused = client.post(REDRIVES, json={"ids": ["0/0"]})
    forced = client.post(REDRIVES, json={"ids": ["0/0"], "force": True})

    assert "redriven 5 times" in assert_problem(refused, 409, "conflict")
    assert forced.status_code == 202


def test_a_letter_belongs_to_at_most_one_open_operation(client: httpx2.Client, broker: PostgresBroker) -> None:
    append(broker, [letter(0), letter(1)])
    first = client.post(REDRIVES, json={"ids": ["0/1"]}).json()["id"]

    for path, body in ((REDRIVES, {"all": True}), (DISCARDS, {"all": True, "reason": "no use"})):
        assert first in assert_problem(client.post(path, json=body), 409, "conflict")
    assert client.post(REDRIVES, json={"ids": ["0/0"]}).status_code == 202


def test_a_plan_whose_letters_were_settled_is_refused(client: httpx2.Client, broker: PostgresBroker) -> None:
    append(broker, [letter(0), letter(1)])
    plan_id = client.post(REDRIVES, json={"all": True, "dry_run": True}).json()["plan_id"]
    client.post(DISCARDS, json={"ids": ["0/1"], "reason": "no use"})

    answer = client.post(REDRIVES, json={"plan_id": plan_id})

    assert "1 are still open" in assert_problem(answer, 409, "conflict")


def test_a_plan_cut_by_retention_is_refused_with_the_earliest_offset(
    client: httpx2.Client, broker: PostgresBroker, database: Database
) -> None:
    append(broker, [letter(0)])
    append(broker, [letter(1)])
    plan_id = client.post(REDRIVES, json={"all": True, "dry_run": True}).json()["plan_id"]
    database.execute("DELETE FROM broker.log WHERE base_off = 0")
    database.execute("UPDATE broker.partitions SET begin_off = 1 WHERE end_off = 2")

    answer = client.post(REDRIVES, json={"plan_id": plan_id})

    assert "the earliest dead letter of partition 0 is now 0/1" in assert_problem(answer, 409, "conflict")


def test_discarded_letters_have_a_reason_and_are_no_longer_open(client: httpx2.Client, broker: PostgresBroker) -> None:
    append(broker, [letter(0), letter(1, "ValueError")])

    dry_run = client.post(DISCARDS, json={"filter": {"cause": "ValueError"}, "reason": "a test", "dry_run": True})
    response = client.post(DISCARDS, json={"filter": {"cause": "ValueError"}, "reason": "a test"})

    assert (dry_run.status_code, dry_run.json()["counts"]["selected"]) == (200, 1)
    assert (response.status_code, response.json()["state"], response.json()["counts"]) == (
        202,
        "succeeded",
        {"discarded": 1},
    )
    assert ids(client.get("/dead-letters", params={"state": "discarded"})) == ["0/1"]
    assert ids(client.get("/dead-letters", params={"state": "open"})) == ["0/0"]
    (_, discarded) = client.get("/dead-letters/0/1").json()["trail"]
    assert (discarded["what"], discarded["reason"], discarded["operation"]) == (
        "discarded",
        "a test",
        response.json()["id"],
    )
    assert_problem(client.post(DISCARDS, json={"ids": ["0/1"], "reason": "again"}), 409, "conflict")


def test_a_letter_links_to_the_other_letters_of_its_record(client: httpx2.Client, broker: PostgresBroker) -> None:
    append(broker, [letter(5), letter(5, redrives=1), letter(6)])

    trails = [client.get(f"/dead-letters/0/{offset}").json()["trail"] for offset in (0, 1)]

    assert [[(each["what"], each["dead_letter"]) for each in trail] for trail in trails] == [
        [("failed", None), ("failed again", "0/1")],
        [("failed", None), ("failed before", "0/0")],
    ]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"ids": []},
        {"ids": ["x"]},
        {"ids": ["0/0"], "all": True},
        {"all": True, "plan_id": "1"},
        {"plan_id": "1", "force": True},
        {"filter": {"state": "open"}},
        {"all": True, "reason": "x"},
    ],
)
def test_an_invalid_selection_is_refused(client: httpx2.Client, body: dict[str, Any]) -> None:
    assert_problem(client.post(REDRIVES, json=body), 422, "invalid-input")


def test_missing_letters_and_plans_cannot_be_redriven(client: httpx2.Client) -> None:
    assert "0/7" in assert_problem(client.post(REDRIVES, json={"ids": ["0/7"]}), 409, "conflict")
    assert "no dead letter is left" in assert_problem(client.post(REDRIVES, json={"all": True}), 409, "conflict")
    assert "no plan" in assert_problem(client.post(REDRIVES, json={"plan_id": "99"}), 422, "invalid-input")


def test_discarding_needs_a_reason(client: httpx2.Client) -> None:
    for reason in ({}, {"reason": ""}, {"reason": "  "}):
        assert_problem(client.post(DISCARDS, json={"all": True, **reason}), 422, "invalid-input")


def test_letters_of_the_fetcher_need_a_backfill_instead_of_a_redrive(
    settings: CleanerSettings, broker: PostgresBroker, postgres: EmbeddedPostgres, database_url: str
) -> None:
    login = as_role(postgres, database_url, "headrace_fetcher")
    fetcher = FetcherSettings(database=login, admin=settings.admin)
    for client in client_of(fetcher, [RAW]):
        append(broker, [NewRecord("fetcher.dlq", b"url", b"{", {})])

        answer = client.post(REDRIVES, json={"all": True})

        assert "headrace backfill" in assert_problem(answer, 409, "conflict")
        assert client.post(DISCARDS, json={"all": True, "reason": "seen"}).status_code == 202
