"""Writes rows as the services write them: heartbeats, partitions, orders, operations, failures."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import psycopg
from psycopg.types.json import Jsonb

from shared.topics import SERVICES

Database = psycopg.Connection[Any]
WINDOWS = {"due": 0, "done": 3, "failed": 0, "missing": 0, "suspect": 0}
DETAILS: dict[str, dict[str, Any]] = {
    "fetcher": {"windows": WINDOWS, "failed": []},
    "predictor": {"model_version": "m1", "scores": []},
}


class PipelineRows:
    """`database` is an autocommit connection of the owner."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def start(self, *services: str) -> None:
        """A live replica of each service that works; all services by default. It counts as live for an hour, because a
        test on a busy machine takes longer than a heartbeat lasts."""
        for service in services or SERVICES:
            self.replica(service, age_s=-3_600)

    def stop(self, service: str) -> None:
        self._execute("DELETE FROM ops.replicas WHERE service = %s", service)

    def replica(
        self,
        service: str,
        state: str = "running",
        ready: bool = True,
        age_s: float = 0,
        detail: Any = None,
        lag: Any = None,
    ) -> None:
        self._execute(
            "INSERT INTO ops.replicas"
            " (service, replica, pid, admin_url, state, ready, detail, lag, started_at, seen_at)"
            " VALUES (%s, %s, 1, '', %s, %s, %s, %s, now(), clock_timestamp() - make_interval(secs => %s))"
            " ON CONFLICT (service, replica) DO UPDATE SET state = excluded.state, ready = excluded.ready,"
            " detail = excluded.detail, lag = excluded.lag, seen_at = excluded.seen_at",
            service,
            f"{service}-0",
            state,
            ready,
            Jsonb(DETAILS.get(service, {}) if detail is None else detail),
            None if lag is None else Jsonb(lag),
            age_s,
        )

    def partition(self, service: str, topic: str, p: int, state: str, cause: str | None = None) -> None:
        self._execute(
            "INSERT INTO ops.observed (service, replica, topic, p, state, seq, cause)"
            " VALUES (%s, %s, %s, %s, %s, 0, %s)",
            service,
            f"{service}-0",
            topic,
            p,
            state,
            cause,
        )

    def order(self, service: str, topic: str, desired: str = "paused") -> None:
        self._execute(
            "INSERT INTO ops.orders (service, topic, desired, ordered_by) VALUES (%s, %s, %s, 'a test')",
            service,
            topic,
            desired,
        )

    def operation(self, service: str, kind: str, state: str = "running") -> None:
        self._execute(
            "INSERT INTO ops.operations (service, kind, state, target, requested_by, request_id, finished_at)"
            " VALUES (%s, %s, %s, '{}', 'a test', '1', CASE WHEN %s = 'succeeded' THEN now() END)",
            service,
            kind,
            state,
            state,
        )

    def dead_letters(
        self, service: str, count: int, age_s: float = 0, error: str = "InvalidEvent", begin: int = 0
    ) -> None:
        for offset in range(begin, begin + count):
            self._execute(
                "INSERT INTO facts.dead_letters VALUES"
                " (%s, %s, %s, 0, %s, 'k', %s, '', 1, clock_timestamp() - make_interval(secs => %s))",
                service,
                uuid4(),
                f"{service}.dlq",
                offset,
                error,
                age_s,
            )

    def settle(self, service: str, offset: int) -> None:
        self._execute(
            "INSERT INTO ops.dead_letters_settled (service, p, off, outcome, operation_id, settled_by)"
            " VALUES (%s, 0, %s, 'discarded', '1', 'a test')",
            service,
            offset,
        )

    def _execute(self, query: str, *values: object) -> None:
        self._database.execute(query.encode(), values)
