"""Deletes old rows of a service's tables once an hour, in small statements."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import psycopg
import structlog

from shared.database.connection import DbConnection, ReconnectingConnection
from shared.errors import TransientError
from shared.ops.retention import AgedRows
from shared.ops.tables.retention import MAX_ROWS, delete_expired, overdue_s
from shared.runtime.metrics import Metrics

INTERVAL_S = 3600.0
# Statements of one table in one round. What is left is deleted in the next round, and shown as overdue.
MAX_STATEMENTS = 100
# Between two statements of one table, so that services have their turn.
PAUSE_S = 0.05

log = structlog.get_logger(__name__)


class RowRetention:
    """A background task of a service (exit_codes.Background). Every replica may run it."""

    def __init__(self, conninfo: str, service: str, rows: Sequence[AgedRows], metrics: Metrics) -> None:
        self._link = ReconnectingConnection(conninfo, f"{service} retention", autocommit=True)
        self._rows = rows
        self._metrics = metrics
        for each in rows:
            metrics.retention_lag_seconds.labels(each.table)

    def __call__(self, stop: threading.Event) -> None:
        """A round at the start, and one each hour."""
        while not stop.is_set():
            self.run_round(stop)
            stop.wait(INTERVAL_S)
        self.close()

    def close(self) -> None:
        self._link.drop()

    def run_round(self, stop: threading.Event, limit: int = MAX_ROWS) -> None:
        """Delete what is due, at most MAX_STATEMENTS times `limit` rows of a table."""
        for rows in self._rows:
            try:
                with self._link.use() as connection:
                    self._delete(connection, rows, stop, limit)
                    self._metrics.retention_lag_seconds.labels(rows.table).set(overdue_s(connection, rows))
            except (TransientError, psycopg.Error) as error:
                log.warning("retention_failed", what=rows.table, cause=str(error).strip())

    def _delete(self, connection: DbConnection, rows: AgedRows, stop: threading.Event, limit: int) -> None:
        deleted = 0
        for _ in range(MAX_STATEMENTS):
            count = delete_expired(connection, rows, limit)
            deleted += count
            if count < limit or stop.wait(PAUSE_S):
                break
        if deleted:
            log.info("retention_removed", what=rows.table, rows=deleted)
