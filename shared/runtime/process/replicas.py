"""The heartbeat of a replica: a row in ops.replicas that says each second how it is.

It has a thread and a connection of its own, so that it goes on while the loop waits; while the database is away it
keeps trying and disturbs nobody.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Self
from uuid import UUID, uuid4

import orjson
import psycopg
import structlog
from psycopg.types.json import Jsonb

from shared.database.connection import Link
from shared.errors import TransientError
from shared.runtime.api.context import ServiceView
from shared.runtime.metrics import Metrics

INTERVAL_S = 1.0
# A beat that is not answered within this is given up, and so is its connection; the server drops the statement too.
ANSWER_S = 5.0
STOP_TIMEOUT_S = 2.0
_UPSERT = """
INSERT INTO ops.replicas
    (service, replica, pid, admin_url, state, ready, lag_records, detail, started_at, incarnation, seen_at)
VALUES (%(service)s, %(replica)s, %(pid)s, %(admin_url)s, %(state)s, %(ready)s, %(lag_records)s, %(detail)s,
    %(started_at)s, %(incarnation)s, clock_timestamp())
ON CONFLICT (service, replica) DO UPDATE SET pid = excluded.pid, admin_url = excluded.admin_url,
    state = excluded.state, ready = excluded.ready, lag_records = excluded.lag_records, detail = excluded.detail,
    started_at = excluded.started_at, incarnation = excluded.incarnation, seen_at = excluded.seen_at,
    obeyed_seq = CASE WHEN replicas.incarnation = excluded.incarnation THEN replicas.obeyed_seq END
WHERE replicas.incarnation = excluded.incarnation OR %(first)s
"""
# Only our own row: a successor may have taken it over while we stopped.
_DELETE = (
    "DELETE FROM ops.replicas WHERE service = %(service)s AND replica = %(replica)s AND incarnation = %(incarnation)s"
)

Guard = Callable[[str, Callable[[], None]], None]
"""Calls what it is given and answers for what that raises (run.py)."""

log = structlog.get_logger(__name__)


class Replicas:
    """Reports a view to ops.replicas until it is left. A clean end deletes the row, another leaves it `stopped`."""

    def __init__(
        self,
        conninfo: str,
        view: ServiceView,
        admin_url: str,
        guard: Guard,
        metrics: Metrics,
        interval_s: float = INTERVAL_S,
        answer_s: float = ANSWER_S,
        incarnation: UUID | None = None,
    ) -> None:
        """`incarnation`: of this process; the row speaks for the one that came last under the replica's name."""
        name = f"{view.status()['service']} heartbeat"
        limit = {"statement_timeout": f"{answer_s * 1000:.0f}ms"}
        self._link = Link(conninfo, name, autocommit=True, settings=limit, answer_s=answer_s)
        self._view = view
        self._admin_url = admin_url
        self._metrics = metrics
        self._interval_s = interval_s
        self._started_at = datetime.now(UTC)
        self._incarnation = incarnation or uuid4()
        self._first = True
        self._ending = threading.Event()
        self._failed: str | None = None
        self._thread = threading.Thread(target=guard, args=("heartbeat", self._beat), name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def fail(self, cause: str) -> None:
        """Say that the end will not be a clean one, and why."""
        self._failed = cause

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join(STOP_TIMEOUT_S)

    def _beat(self) -> None:
        reachable = True
        while True:
            ending = self._ending.is_set()
            try:
                self._report(ending)
                reachable = True
            except (TransientError, psycopg.Error) as error:
                if reachable:
                    log.warning("heartbeat does not reach the database; trying again", cause=str(error).strip())
                reachable = False
            if ending:
                self._link.drop()
                return
            self._ending.wait(self._interval_s)

    def _report(self, ending: bool) -> None:
        row = self._row()
        if ending and self._failed is not None:
            row |= {"state": "stopped", "ready": False, "detail": _json({"cause": self._failed})}
        with self._link.use() as connection:
            connection.execute(_DELETE if ending and self._failed is None else _UPSERT, row)
        self._first = False

    def _row(self) -> dict[str, Any]:
        status, (ready, why) = self._view.status(), self._view.ready()
        return {
            "service": status["service"],
            "replica": status["replica"],
            "pid": os.getpid(),
            "admin_url": self._admin_url,
            "state": status["state"],
            "ready": ready,
            "lag_records": self._lag_records(),
            "detail": _json(status["detail"] | ({} if ready else {"not_ready": why})),
            "started_at": self._started_at,
            "incarnation": self._incarnation,
            "first": self._first,
        }

    def _lag_records(self) -> int | None:
        """All that waits, also told to the metrics; None where nothing is read or nobody knows."""
        try:
            lag = self._view.lag()
        except TransientError:
            return None
        for each in lag:
            where = each["topic"], each["partition"]
            self._metrics.consumer_lag_records.labels(*where).set(each["records"])
            if each.get("seconds") is not None:
                self._metrics.consumer_lag_seconds.labels(*where).set(each["seconds"])
        return sum(each["records"] for each in lag) if lag else None


def _json(detail: dict[str, Any]) -> Jsonb:
    """Instants and paths in a detail become text."""
    return Jsonb(detail, dumps=lambda value: orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS))
