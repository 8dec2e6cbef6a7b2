"""Sends the heartbeat of a replica: writes its state to a row in ops.replicas every second, and once a minute its
service's lag to ops.lag_history.

It has its own thread and connection, so that it continues while the loop waits. While the database is unavailable, it
keeps trying.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Self
from uuid import UUID, uuid4

import orjson
import psycopg
import structlog
from psycopg.types.json import Jsonb

from shared.database.connection import DbConnection, limited_connection
from shared.errors import HeadraceError, TransientError
from shared.ops.tables import lag_history
from shared.ops.tables.lag_history import TopicLag
from shared.runtime.api.context import ServiceView
from shared.runtime.metrics import Metrics

INTERVAL_S = 1.0
# The limit of one heartbeat. After it, the statement is cancelled on the server and the connection is dropped.
ANSWER_S = 5.0
STOP_TIMEOUT_S = 2.0
_UPSERT = """
INSERT INTO ops.replicas
    (service, replica, pid, admin_url, state, ready, lag_records, lag, detail, started_at, incarnation, seen_at)
VALUES (%(service)s, %(replica)s, %(pid)s, %(admin_url)s, %(state)s, %(ready)s, %(lag_records)s, %(lag)s, %(detail)s,
    %(started_at)s, %(incarnation)s, clock_timestamp())
ON CONFLICT (service, replica) DO UPDATE SET pid = excluded.pid, admin_url = excluded.admin_url,
    state = excluded.state, ready = excluded.ready, lag_records = excluded.lag_records, lag = excluded.lag,
    detail = excluded.detail,
    started_at = excluded.started_at, incarnation = excluded.incarnation, seen_at = excluded.seen_at,
    obeyed_seq = CASE WHEN replicas.incarnation = excluded.incarnation THEN replicas.obeyed_seq END
WHERE replicas.incarnation = excluded.incarnation OR %(first)s
RETURNING seen_at
"""
# Only this process's row: a successor may have taken it over in the meantime.
_DELETE = (
    "DELETE FROM ops.replicas WHERE service = %(service)s AND replica = %(replica)s AND incarnation = %(incarnation)s"
)

Guard = Callable[[str, Callable[[], None]], None]
"""Calls a function under a name and handles the errors that it raises (run.py)."""

log = structlog.get_logger(__name__)


class ReplicaHeartbeat:
    """Reports a view to ops.replicas until its block ends. A clean end deletes the row; after `fail` its state becomes
    `stopped`."""

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
        """`incarnation` identifies this process. The row belongs to the newest process with the replica's name."""
        self._service: str = view.status()["service"]
        self._link = limited_connection(conninfo, f"{self._service} heartbeat", answer_s)
        self._view = view
        self._admin_url = admin_url
        self._metrics = metrics
        self._interval_s = interval_s
        self._started_at = datetime.now(UTC)
        self._incarnation = incarnation or uuid4()
        self._first = True
        self._stored_minute: datetime | None = None
        self._ending = threading.Event()
        self._failed: str | None = None
        self._thread = threading.Thread(target=guard, args=("heartbeat", self._run), name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def fail(self, cause: str) -> None:
        """Record that the process ends because of an error."""
        self._failed = cause

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join(STOP_TIMEOUT_S)

    def _run(self) -> None:
        reachable = True
        while True:
            ending = self._ending.is_set()
            try:
                self._report(ending)
                reachable = True
            except (TransientError, psycopg.Error) as error:
                if reachable:
                    log.warning("heartbeat_failed", cause=str(error).strip())
                reachable = False
            if ending:
                self._link.drop()
                return
            self._ending.wait(self._interval_s)

    def _report(self, ending: bool) -> None:
        lags = _lag_by_topic(self._measure_lag())
        row = self._row(lags)
        if ending and self._failed is not None:
            row |= {"state": "stopped", "ready": False, "detail": _json({"cause": self._failed})}
        with self._link.use() as connection:
            if ending and self._failed is None:
                connection.execute(_DELETE, row)
            else:
                written = connection.execute(_UPSERT, row).fetchone()
                self._store_lag(connection, lags, None if written is None else written[0])
        self._first = False

    def _store_lag(self, connection: DbConnection, lags: Sequence[TopicLag], now: datetime | None) -> None:
        """Once a minute by the clock of the database. `now`: None if the row belongs to a successor."""
        if lags and now is not None and self._stored_minute != lag_history.minute_of(now):
            lag_history.store(connection, self._service, now, lags)
            self._stored_minute = lag_history.minute_of(now)

    def _row(self, lags: Sequence[TopicLag]) -> dict[str, Any]:
        status, (ready, why) = self._view.status(), self._view.ready()
        self._metrics.ready.set(ready)
        by_topic = {each.topic: {"records": each.records, "seconds": each.seconds} for each in lags}
        return {
            "service": status["service"],
            "replica": status["replica"],
            "pid": os.getpid(),
            "admin_url": self._admin_url,
            "state": status["state"],
            "ready": ready,
            "lag_records": sum(each.records for each in lags) if lags else None,
            "lag": Jsonb(by_topic) if lags else None,
            "detail": _json(status["detail"] | ({} if ready else {"not_ready": why})),
            "started_at": self._started_at,
            "incarnation": self._incarnation,
            "first": self._first,
        }

    def _measure_lag(self) -> list[dict[str, Any]]:
        """The lag of all partitions; also sets the lag metrics. Empty if the service reads no topic or the lag is
        unknown."""
        try:
            lag = self._view.lag()
        except HeadraceError:  # also a topic that was deleted a moment ago: what to do about it, the loop decides
            return []
        for each in lag:
            where = each["topic"], each["partition"]
            self._metrics.consumer_lag_records.labels(*where).set(each["records"])
            if each.get("seconds") is not None:
                self._metrics.consumer_lag_seconds.labels(*where).set(each["seconds"])
        return lag


def _lag_by_topic(partitions: Sequence[Mapping[str, Any]]) -> list[TopicLag]:
    lags = []
    for topic in sorted({each["topic"] for each in partitions}):
        own = [each for each in partitions if each["topic"] == topic]
        ages = [each["seconds"] for each in own if each.get("seconds") is not None]
        records, position = (sum(each[name] for each in own) for name in ("records", "position"))
        lags.append(TopicLag(topic, records, max(ages, default=None), position))
    return lags


def _json(detail: dict[str, Any]) -> Jsonb:
    """A status detail as JSON; datetimes and paths become text."""
    return Jsonb(detail, dumps=lambda value: orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS))
