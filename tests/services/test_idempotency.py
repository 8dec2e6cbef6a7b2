"""An Idempotency-Key belongs to one service: the same request at two services is two requests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import pytest

from headrace.database.embedded import EmbeddedPostgres
from shared.ops.tables import orders as orders_table
from tests.services.apps import server_of
from tests.shared.runtime.api.admin_apps import FILE_TOKEN, as_role, assert_problem, auth_headers

Database = psycopg.Connection[Any]


@pytest.fixture
def clients(postgres: EmbeddedPostgres, database_url: str, tmp_path: Path) -> Iterator[dict[str, httpx2.Client]]:
    """Clients of the cleaner and the loader, which run under their own database roles."""

    def role(service: str) -> Any:
        return as_role(postgres, database_url, f"headrace_{service}")

    with (
        server_of("cleaner", database_url, role("cleaner"), tmp_path, FILE_TOKEN) as cleaner,
        server_of("loader", database_url, role("loader"), tmp_path, FILE_TOKEN) as loader,
        httpx2.Client(base_url=cleaner.url, headers=auth_headers(FILE_TOKEN), timeout=30) as to_cleaner,
        httpx2.Client(base_url=loader.url, headers=auth_headers(FILE_TOKEN), timeout=30) as to_loader,
    ):
        yield {"cleaner": to_cleaner, "loader": to_loader}


def pause(client: httpx2.Client, reason: str = "maintenance") -> httpx2.Response:
    return client.put("/v1/topics/pause", json={"reason": reason}, headers={"Idempotency-Key": "pause-all"})


def test_one_key_at_two_services_pauses_both(clients: dict[str, httpx2.Client], database: Database) -> None:
    answers = {service: pause(client) for service, client in clients.items()}

    assert {service: answer.status_code for service, answer in answers.items()} == {"cleaner": 202, "loader": 202}
    assert [(service, answer.json()["service"]) for service, answer in answers.items()] == [
        ("cleaner", "cleaner"),
        ("loader", "loader"),
    ]
    paused = {service for service, _ in orders_table.paused_topics(database)}
    assert paused == {"cleaner", "loader"}


def test_each_service_repeats_its_own_answer(clients: dict[str, httpx2.Client], database: Database) -> None:
    first = {service: pause(client).json() for service, client in clients.items()}

    again = {service: pause(client) for service, client in clients.items()}

    assert {service: answer.json() for service, answer in again.items()} == first
    assert {answer.headers["idempotency-replayed"] for answer in again.values()} == {"true"}
    assert database.execute("SELECT count(*) FROM ops.operations").fetchone() == (2,)


def test_another_request_with_the_same_key_is_refused_only_by_the_service_that_has_seen_it(
    clients: dict[str, httpx2.Client],
) -> None:
    pause(clients["cleaner"])

    assert "choose a new key" in assert_problem(pause(clients["cleaner"], "another"), 422, "invalid-input")
    assert pause(clients["loader"], "another").status_code == 202
