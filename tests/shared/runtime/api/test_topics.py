"""The REST API of topics: pause, resume and their state."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import httpx2
import psycopg
import pytest

from shared.broker.contract import Loss, TopicPartition
from shared.broker.postgres.broker import PostgresBroker
from shared.broker.postgres.losses import settle
from shared.ops.holds import Hold
from shared.ops.orders import PartitionStatus
from shared.ops.tables import holds as holds_table
from shared.ops.tables import orders as orders_table
from shared.ops.tables.steering import KnownPartitions, finish_effective
from shared.topics import RAW, topic_specs
from tests.shared.runtime.api.admin_apps import assert_problem

Database = psycopg.Connection[Any]
TPS = [TopicPartition(RAW, p) for p in range(2)]


@pytest.fixture(autouse=True)
def _log(database_url: str) -> None:
    broker = PostgresBroker(database_url)
    broker.ensure_topics(topic_specs(2))
    broker.close()


def report_replica(
    database: Database, seq: int, state: Any, replica: str = "a", tps: list[TopicPartition] = TPS
) -> None:
    """Insert a live replica with this report."""
    incarnation = uuid4()
    database.execute(
        "INSERT INTO ops.replicas (service, replica, pid, admin_url, state, ready, started_at, seen_at, incarnation)"
        " VALUES ('cleaner', %s, 1, '', 'running', true, now(), now(), %s) ON CONFLICT (service, replica)"
        " DO UPDATE SET incarnation = excluded.incarnation",
        (replica, incarnation),
    )
    statuses = {tp: PartitionStatus(state, 7, "too many failed" if state == "tripped" else None) for tp in tps}
    assert orders_table.report_status(database, "cleaner", replica, incarnation, seq, statuses)


def topic(client: httpx2.Client) -> dict[str, Any]:
    body: dict[str, Any] = client.get(f"/v1/topics/{RAW}").json()
    return body


def test_a_topic_without_an_order_runs(client: httpx2.Client, database: Database) -> None:
    report_replica(database, 0, "running")

    body = client.get("/v1/topics").json()

    assert body["replicas"] == [{"replica": "a", "obeys": 0}]
    assert body["topics"] == [
        {
            "topic": RAW,
            "desired": "running",
            "effective": True,
            "waiting_for": None,
            "order": None,
            "partitions": [
                {"partition": p, "replica": "a", "state": "running", "position": 7, "cause": None, "hold": None}
                for p in (0, 1)
            ],
        }
    ]


def test_a_pause_is_accepted_shown_and_effective_once_it_is_obeyed(client: httpx2.Client, database: Database) -> None:
    report_replica(database, 0, "running")

    answer = client.put(f"/v1/topics/{RAW}/pause", json={"reason": "the source moves"})
    operation = answer.json()
    before = topic(client)
    report_replica(database, operation["target"]["orders"][RAW], "paused")
    finish_effective(database, "cleaner", KnownPartitions("cleaner", [RAW])(database))
    after = topic(client)

    assert (answer.status_code, answer.headers["location"]) == (202, f"/v1/operations/{operation['id']}")
    assert (operation["kind"], operation["state"]) == ("pause", "waiting")
    assert (before["desired"], before["effective"], before["waiting_for"]) == ("paused", False, "not obeyed yet by a")
    assert (before["order"]["reason"], before["order"]["ordered_by"]) == ("the source moves", "file token")
    assert (after["effective"], {each["state"] for each in after["partitions"]}) == (True, {"paused"})
    assert client.get(answer.headers["location"]).json()["state"] == "succeeded"


def test_a_pause_without_replicas_waits_for_one(client: httpx2.Client) -> None:
    client.put(f"/v1/topics/{RAW}/pause")

    shown = topic(client)

    assert (shown["desired"], shown["waiting_for"]) == ("paused", "no replica of the service is running")
    assert [each["replica"] for each in shown["partitions"]] == [None, None]


def test_a_resume_ends_a_pause_that_is_not_obeyed_yet(client: httpx2.Client) -> None:
    paused = client.put(f"/v1/topics/{RAW}/pause").headers["location"]

    client.put(f"/v1/topics/{RAW}/resume", json={"tolerate": 5})

    ended = client.get(paused).json()
    assert (ended["state"], ended["error"]) == ("cancelled", "superseded by another order")
    assert (topic(client)["desired"], topic(client)["order"]["tolerate"]) == ("running", 5)


def test_all_topics_are_paused_and_resumed_by_one_operation(client: httpx2.Client) -> None:
    for command, desired in (("pause", "paused"), ("resume", "running")):
        answer = client.put(f"/v1/topics/{command}")

        assert answer.status_code == 202
        assert topic(client)["desired"] == desired


def test_a_pause_is_in_the_trail_with_the_former_state(client: httpx2.Client) -> None:
    client.put(f"/v1/topics/{RAW}/pause", json={"reason": "night"})

    line = client.get("/v1/audit").json()["lines"][0]

    assert (line["action"], line["target"], line["before"]) == ("pause", RAW, {RAW: "running"})
    assert (line["after"]["desired"], line["after"]["reason"]) == ("paused", "night")


def test_a_tripped_partition_has_its_cause(client: httpx2.Client, database: Database) -> None:
    report_replica(database, 0, "tripped")

    assert [each["cause"] for each in topic(client)["partitions"]] == ["too many failed"] * 2


def test_a_held_partition_without_an_owner_has_its_kind_and_cause_until_a_resume(
    client: httpx2.Client, database: Database
) -> None:
    hold = Hold(TPS[1], "breaker", {"message": "too many failed"}, 0, datetime(2031, 5, 4, tzinfo=UTC))
    holds_table.hold(database, "cleaner", hold)

    held = topic(client)["partitions"]
    client.put(f"/v1/topics/{RAW}/resume")

    assert [each["hold"] and (each["hold"]["kind"], each["hold"]["cause"]) for each in held] == [
        None,
        ("breaker", {"message": "too many failed"}),
    ]
    assert [each["hold"] for each in topic(client)["partitions"]] == [None, None]
    assert database.execute("SELECT FROM ops.holds").rowcount == 0


def test_damaged_records_are_skipped_by_their_offset_with_a_line_in_the_trail(
    client: httpx2.Client, database: Database
) -> None:
    cause = {"message": "damaged", "offset": 5120, "end": 5140}
    holds_table.hold(database, "cleaner", Hold(TPS[0], "damaged", cause, 0, datetime(2031, 5, 4, tzinfo=UTC)))
    url = f"/v1/topics/{RAW}/partitions"

    refusals = [
        client.put(f"{url}/0/skip", json={"offset": 5140, "reason": "bad disk"}),
        client.put(f"{url}/1/skip", json={"offset": 5120, "reason": "bad disk"}),
    ]
    answer = client.put(f"{url}/0/skip", json={"offset": 5125, "reason": "bad disk"})

    assert [each.status_code for each in refusals] == [409, 409]
    assert "for the records at 5120, not for those at 5140" in refusals[0].json()["detail"]
    assert (answer.status_code, answer.json()["continue_at"]) == (202, 5140)
    assert [hold.continue_at for hold in holds_table.holds(database, "cleaner")] == [5140]
    line = client.get("/v1/audit").json()["lines"][0]
    assert (line["action"], line["target"], line["before"]) == ("skip", f"{RAW}/0/5125", cause)
    assert line["after"] == {"continue_at": 5140, "reason": "bad disk"}


def test_an_unknown_topic_and_an_invalid_body_are_refused(client: httpx2.Client) -> None:
    assert "its topics: raw-events" in assert_problem(client.put("/v1/topics/nothing/pause"), 404, "not-found")
    invalid_bodies: list[Any] = [{"tolerate": 3}, {"reason": ""}, {"why": "x"}, [], "x"]
    for body in invalid_bodies:
        assert client.put(f"/v1/topics/{RAW}/pause", json=body).status_code == 422
    assert client.put(f"/v1/topics/{RAW}/resume", json={"tolerate": -1}).status_code == 422


@pytest.fixture
def lost(database: Database) -> TopicPartition:
    """A partition whose records were lost."""
    lost = Loss("removed", 100, UUID(int=1), 180, 80, "gone")
    settle(database, "cleaner", dict.fromkeys(TPS, lost))
    settle(database, "loader", {TPS[0]: lost})
    return TPS[1]


def test_a_resume_does_not_end_a_hold_for_lost_records(client: httpx2.Client, lost: TopicPartition) -> None:
    client.put(f"/v1/topics/{RAW}/resume")

    held = topic(client)["partitions"]
    client.put(f"/v1/topics/{RAW}/partitions/{lost.partition}/accept-loss")

    assert [(each["hold"]["kind"], each["hold"]["cause"]["continue_at"]) for each in held] == [("lost", 180)] * 2
    assert [each["hold"] is None for each in topic(client)["partitions"]] == [False, True]


def test_a_loss_is_accepted_for_one_partition_once_with_a_line_in_the_trail(
    client: httpx2.Client, database: Database, lost: TopicPartition
) -> None:
    path = f"/v1/topics/{RAW}/partitions/{lost.partition}/accept-loss"

    answer = client.put(path, json={"reason": "the disk is gone"})

    assert answer.json()["losses"] == [
        {"topic": RAW, "partition": 1, "kind": "removed", "position": 100, "continue_at": 180, "records": 80}
    ]
    assert_problem(client.put(path), 409, "conflict")
    accepted, waiting = settle(database, "cleaner", dict.fromkeys(TPS, Loss("removed", 100, UUID(int=1), 190, 90, "")))
    assert (list(accepted), list(waiting)) == ([TPS[1]], [TPS[0]])
    refused, line = client.get("/v1/audit").json()["lines"][:2]
    assert (line["action"], line["target"], line["after"]["reason"]) == (
        "accept loss", f"{RAW}/1", "the disk is gone",
    )  # fmt: skip
    assert refused["outcome"].startswith("refused (409)")


def test_all_losses_of_a_service_are_accepted_and_none_of_another(client: httpx2.Client, lost: TopicPartition) -> None:
    answer = client.put("/v1/topics/accept-loss")

    assert [each["partition"] for each in answer.json()["losses"]] == [0, lost.partition]
    assert "does not wait" in assert_problem(client.put("/v1/topics/accept-loss"), 409, "conflict")


def test_an_accepted_loss_does_not_cover_the_next_one(
    client: httpx2.Client, database: Database, lost: TopicPartition
) -> None:
    client.put("/v1/topics/accept-loss")

    later = Loss("removed", 200, UUID(int=1), 230, 30, "gone again")
    accepted, waiting = settle(database, "cleaner", {lost: later})

    assert (accepted, waiting) == ({}, {lost: later._replace(uncounted=30)})
