"""Fifty concurrent clients: each gets a valid response, and one idempotency key gives one operation."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import psycopg
from fastapi import APIRouter, Request, Response

from services.cleaner.settings import CleanerSettings
from shared.database.connection import DbConnection
from shared.ops.tables import operations as operations_table
from shared.runtime.api.context import AdminContext
from shared.runtime.api.idempotent_change import ChangeResult, OperationBody, accepted, apply_change
from tests.shared.runtime.api.admin_apps import auth_headers, create_token, serve_admin_app

CLIENTS, ROUNDS, SHARED_KEYS = 50, 4, 5
# The server closes connections that were idle for 5 s. A thread that waits for a busy CPU must not use such a one.
NO_LONG_IDLE = httpx2.Limits(keepalive_expiry=0.5)


def things(context: AdminContext) -> APIRouter:
    """POST /v1/things creates an operation; GET /v1/things is slow in the database."""
    router = APIRouter()

    @router.post("/things", status_code=202, response_model=OperationBody)
    def create_thing(request: Request) -> Response:
        def work(connection: DbConnection) -> ChangeResult:
            return accepted(operations_table.create(connection, "cleaner", "thing", {}, "alice", "r"))

        return apply_change(context, request, "thing", "a thing", work)

    @router.get("/things")
    def get_slowly() -> int:
        with context.transaction() as connection:
            connection.execute("SELECT pg_sleep(0.02)")
        return 1

    return router


def test_fifty_clients_get_valid_responses_and_one_operation_for_each_key(
    settings: CleanerSettings, database: psycopg.Connection[Any]
) -> None:
    tokens = [create_token(database, f"client-{number}", "operate") for number in range(2)]
    start = threading.Barrier(CLIENTS)

    def send_requests(url: httpx2.URL, number: int) -> list[tuple[str, str, httpx2.Response]]:
        """Reads, slow reads, posts with a key of its own (twice) and posts with a key that other clients use too."""
        answers = []
        headers = auth_headers(tokens[0])
        with httpx2.Client(base_url=url, headers=headers, timeout=60, limits=NO_LONG_IDLE) as client:
            start.wait(60)
            for turn in range(ROUNDS):
                own, shared = f"own-{number}-{turn}", f"shared-{turn % SHARED_KEYS}"
                answers += [("read", "", client.get("/v1/operations", headers=auth_headers(tokens[1])))]
                answers += [("slow", "", client.get("/v1/things"))]
                answers += [("live", "", client.get("/livez"))]
                for key in (own, own, shared):
                    answers += [("post", key, client.post("/v1/things", headers={"Idempotency-Key": key}))]
        return answers

    with serve_admin_app(settings, routers=[things], token=None) as client, ThreadPoolExecutor(CLIENTS) as pool:
        url = client.base_url
        answers = [
            each for batch in pool.map(lambda number: send_requests(url, number), range(CLIENTS)) for each in batch
        ]

    statuses = Counter((kind, answer.status_code) for kind, _, answer in answers)
    posts = [(key, answer) for kind, key, answer in answers if kind == "post"]
    assert sum(statuses.values()) == CLIENTS * ROUNDS * 6
    assert statuses["read", 200] == statuses["slow", 200] == statuses["live", 200] == CLIENTS * ROUNDS
    assert statuses["post", 202] + statuses["post", 409] == len(posts), statuses
    assert all("still running" in answer.json()["detail"] for _, answer in posts if answer.status_code == 409)
    ids_by_key: dict[str, set[str]] = {}
    for key, answer in posts:
        if answer.status_code == 202:
            ids_by_key.setdefault(key, set()).add(answer.json()["id"])
    assert all(len(ids) == 1 for ids in ids_by_key.values())
    assert len(ids_by_key) == CLIENTS * ROUNDS + min(ROUNDS, SHARED_KEYS)
    assert database.execute("SELECT count(*) FROM ops.operations").fetchone() == (len(ids_by_key),)
