"""The endpoints about incidents and mutes over HTTP, with the rights of the notifier."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import pytest
from fastapi import APIRouter

from headrace.database.embedded import EmbeddedPostgres
from services.notifier.alerts import postgres_incidents as storage
from services.notifier.alerts.conditions import Condition
from services.notifier.api import incidents, mutes
from services.notifier.settings import NotifierSettings
from services.notifier.storage.postgres_mutes import active_mutes, muted_until
from shared.runtime.api.context import AdminContext
from tests.services.endpoints import served, settings_of
from tests.services.notifier.books import default_book
from tests.shared.runtime.api.admin_apps import assert_problem

Database = psycopg.Connection[Any]
DETAIL = {"new": 12, "open": 30, "cause": "InvalidEvent"}


def routers(context: AdminContext) -> APIRouter:
    router = APIRouter()
    router.include_router(incidents.router(context, default_book))
    router.include_router(mutes.router(context, lambda: ["dead-letters", "tip"]))
    return router


@pytest.fixture
def client(postgres: EmbeddedPostgres, database_url: str, tmp_path: Path) -> Iterator[httpx2.Client]:
    with served(settings_of(NotifierSettings, postgres, database_url, tmp_path), routers) as client:
        yield client


def open_incidents(database: Database, *services: str) -> list[int]:
    conditions = [Condition("dead-letters", service, "warning", DETAIL) for service in services]
    opened = [
        storage.open_incident(database, "dead-letters", condition, ["console"], default_book())
        for condition in conditions
    ]
    return [incident.id for incident in opened if incident is not None]


def trail(database: Database) -> list[tuple[Any, ...]]:
    return database.execute("SELECT who, action, target, outcome FROM ops.audit ORDER BY id").fetchall()


def test_incidents_are_listed_by_state_in_pages(client: httpx2.Client, database: Database) -> None:
    first, second, third = open_incidents(database, "cleaner", "loader", "predictor")
    storage.resolve_incident(database, next(iter(storage.open_incidents(database).values())), [], default_book())

    page = client.get("/incidents", params={"limit": 1}).json()
    rest = client.get("/incidents", params={"before": page["next"]}).json()
    open_only = client.get("/incidents", params={"state": ["open", "acknowledged"]}).json()

    assert [each["id"] for each in (*page["incidents"], *rest["incidents"])] == [third, second, first]
    assert rest["next"] is None
    assert [each["id"] for each in open_only["incidents"]] == [third, second]
    assert open_only["incidents"][0]["text"].startswith("Dead letters · predictor · 12 new within an hour, 30 open")


def test_an_acknowledgement_is_stored_once_and_recorded(client: httpx2.Client, database: Database) -> None:
    (incident,) = open_incidents(database, "cleaner")

    answers = [client.post(f"/incidents/{incident}/acknowledge", headers={"Idempotency-Key": "k"}) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json() == answers[1].json()
    assert (answers[0].json()["state"], answers[0].json()["acknowledged_by"]) == ("acknowledged", "file token")
    assert trail(database) == [("file token", "acknowledge", f"incident {incident}", "accepted")]


def test_what_is_resolved_or_unknown_cannot_be_acknowledged(client: httpx2.Client, database: Database) -> None:
    (incident,) = open_incidents(database, "cleaner")
    storage.resolve_incident(database, next(iter(storage.open_incidents(database).values())), [], default_book())

    resolved = client.post(f"/incidents/{incident}/acknowledge")
    unknown = client.post("/incidents/4711/acknowledge")

    assert "resolved already" in assert_problem(resolved, 409, "conflict")
    assert "4711" in assert_problem(unknown, 404, "not-found")
    assert [outcome.split(":")[0] for *_, outcome in trail(database)] == ["refused (409)", "refused (404)"]


def test_a_rule_is_muted_until_its_mute_ends(client: httpx2.Client, database: Database) -> None:
    started = client.post("/mutes", json={"rule": "tip", "for": "2h"})
    mute = started.json()

    assert started.status_code == 201
    assert [each.rule for each in active_mutes(database)] == ["tip"]
    assert client.get("/mutes").json() == {"mutes": [mute]}

    ended = [client.post(f"/mutes/{mute['id']}/end").json() for _ in range(2)]

    assert ended[0]["ended_at"] is not None
    assert ended[0] == ended[1]
    assert active_mutes(database) == []
    assert [action for _, action, *_ in trail(database)] == ["mute", "unmute", "unmute"]


def test_of_several_mutes_of_a_rule_the_last_one_counts(client: httpx2.Client, database: Database) -> None:
    ends = [client.post("/mutes", json={"rule": "tip", "for": span}).json()["until"] for span in ("3h", "1h", "2h")]

    assert muted_until(database)["tip"].isoformat() == ends[0].replace("Z", "+00:00")


def test_a_mute_that_is_over_does_not_hold(client: httpx2.Client, database: Database) -> None:
    mute = client.post("/mutes", json={"rule": "tip", "for": "90s"}).json()
    database.execute("UPDATE notifier.mutes SET until = clock_timestamp() - interval '1 second'")

    assert client.get("/mutes").json() == {"mutes": []}
    ended = client.post(f"/mutes/{mute['id']}/end").json()
    assert ended["ended_at"] == ended["until"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"rule": "pigeon", "for": "2h"}, "'pigeon'; the rules: dead-letters, tip"),
        ({"rule": "tip", "for": "31d"}, "at most 30 days"),
        ({"rule": "tip", "for": "0s"}, "more than 0"),
        ({"rule": "tip", "for": "soon"}, "for"),
        ({"rule": "tip"}, "for"),
    ],
)
def test_an_invalid_mute_is_refused(client: httpx2.Client, database: Database, body: Any, reason: str) -> None:
    assert reason in assert_problem(client.post("/mutes", json=body), 422, "invalid-input")
    assert active_mutes(database) == []


def test_an_unknown_mute_cannot_be_ended(client: httpx2.Client) -> None:
    assert "4711" in assert_problem(client.post("/mutes/4711/end"), 404, "not-found")
