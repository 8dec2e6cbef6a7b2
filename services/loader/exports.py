"""Writes one CSV file per day and table, `exports/YYYY-MM-DD/*.csv`.

A file is written under a temporary name and renamed, so a reader never sees a partial file. A day is written when its
last event has ended or the day is over, and again whenever its rows change. `manifest.json` beside the files holds the
row count of each file and whether all events of the day have ended. A file holds the rows of all sources; the keys and
the column `source` of sessions.csv tell them apart.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import structlog
from psycopg import sql

from shared.clock import Clock
from shared.database.connection import DbConnection, ReconnectingConnection
from shared.errors import TransientError

POLL_INTERVAL_S = 0.5
# A backfill changes its days many times in a row. A day is therefore written when it has been unchanged for this long,
# or at once when no day has changed since the last poll.
QUIET_PERIOD_S = 3.0
# Planning a query over the views takes longer than reading one day, so several days are read in one query.
MAX_DAYS_PER_SNAPSHOT = 16

# First half of the advisory lock key; the second is the date. Concurrent exporters never write the same day.
LOCK_NAMESPACE = int.from_bytes(b"csv", "big")

_DATED = (
    "SELECT s.date, e.* FROM analytics.events e JOIN analytics.sessions s USING (session_key)"
    " WHERE s.date = ANY({days})"
)
_ORDER = {
    "entries": "event_key, slot",
    "observations": "event_key, slot",
    "outcomes": "event_key, slot",
    "transactions": "event_key, market, ordinal",
    "predictions": "event_key, as_of, state, head, slot, class",
}
# The first column is the day of the row; it is removed before the row is written.
FILES = {
    "sessions": "SELECT date AS day, * FROM analytics.sessions WHERE date = ANY({days}) ORDER BY session_key",
    "events": f"{_DATED} ORDER BY event_key",
    **{
        name: f"SELECT e.date, t.* FROM analytics.{name} t JOIN ({_DATED}) e USING (event_key) ORDER BY {order}"
        for name, order in _ORDER.items()
    },
}


class OutdatedDay(NamedTuple):
    """A day with rows newer than its files. `touched` counts its changes; `ended`: all its events have ended."""

    date: date
    touched: int
    ended: bool


class SourceDay(NamedTuple):
    """One source's rows of a day: how many changes there were (`touched`), and how many the files include."""

    id: int
    touched: int
    exported: int
    name: str


_COPY = "COPY ({}) TO STDOUT WITH (FORMAT csv, HEADER)"
_OUTDATED_DAYS = """
SELECT d.date, sum(d.touched)::bigint, NOT EXISTS (
    SELECT FROM facts.sessions s JOIN facts.events e ON e.session_id = s.id
    WHERE s.date = d.date AND e.status NOT IN ('settled', 'void', 'cancelled'))
FROM facts.export_days d GROUP BY d.date HAVING bool_or(d.touched > d.exported) ORDER BY d.date
"""


class Exporter:
    """Writes outdated days, in its own thread with its own connection.

    A day whose files cannot be written is retried at every poll and does not delay other days.
    """

    def __init__(self, conninfo: str, directory: Path, clock: Clock, quiet_period_s: float = QUIET_PERIOD_S) -> None:
        self._link = ReconnectingConnection(conninfo, "exports", autocommit=True)
        self._directory = directory
        self._clock = clock
        self._quiet_period_s = quiet_period_s
        self._last_changes: dict[date, tuple[int, float]] = {}  # `touched`, and since when (monotonic seconds)
        self._written_count = 0
        self._failure_causes: dict[date, str] = {}
        self._log = structlog.get_logger()

    def status(self) -> dict[str, Any]:
        return {"exports_written": self._written_count, "exports_refused": len(self._failure_causes)}

    def run(self, stop: threading.Event) -> None:
        while not stop.wait(POLL_INTERVAL_S):
            try:
                self.export_due_days(stop)
            except TransientError as error:
                self._log.warning("exports_database_lost", error=str(error))
        self._link.drop()

    def export_due_days(self, stop: threading.Event) -> None:
        """Write every outdated day that is quiet and has ended, or is in the past."""
        today = self._clock.now().date()
        with self._link.use() as connection:
            days = [OutdatedDay(*row) for row in connection.execute(_OUTDATED_DAYS)]
            due = [day for day in self._quiet_days(days) if day.ended or day.date < today]
            for start in range(0, len(due), MAX_DAYS_PER_SNAPSHOT):
                if stop.is_set():
                    return
                self._write_days(connection, due[start : start + MAX_DAYS_PER_SNAPSHOT])

    def _quiet_days(self, days: list[OutdatedDay]) -> list[OutdatedDay]:
        """Days unchanged since the last poll, and for `quiet_period_s` if any other day has changed."""
        now = time.monotonic()
        before, self._last_changes = self._last_changes, {}
        for day in days:
            touched, since = before.get(day.date, (None, now))
            self._last_changes[day.date] = (day.touched, since if touched == day.touched else now)
        still = [day for day in days if before.get(day.date) == self._last_changes[day.date]]
        if len(still) == len(days):
            return still
        return [day for day in still if now - self._last_changes[day.date][1] >= self._quiet_period_s]

    def _write_days(self, connection: DbConnection, days: list[OutdatedDay]) -> None:
        """Write the days that no other exporter has locked, all from one snapshot."""
        with ExitStack() as day_locks:
            mine = [day for day in days if day_locks.enter_context(_lock_day(connection, day.date))]
            with connection.transaction():
                connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                sources_by_day = {day: sources for day in mine if (sources := _outdated_sources(connection, day))}
                files = (
                    {name: _read_csv_lines(connection, query, list(sources_by_day)) for name, query in FILES.items()}
                    if sources_by_day
                    else {}
                )
            for day, sources in sources_by_day.items():
                self._write_or_log(connection, day, sources, {name: dated[day.date] for name, dated in files.items()})

    def _write_or_log(
        self, connection: DbConnection, day: OutdatedDay, sources: list[SourceDay], files: dict[str, list[bytes]]
    ) -> None:
        """Write one day and mark it as exported. A failure is logged once per cause; the day stays outdated."""
        try:
            self._write_files(day, sources, files)
        except OSError as error:
            cause = error.strerror or type(error).__name__
            if self._failure_causes.get(day.date) != cause:
                self._log.error("export_write_failed", directory=str(self._directory), day=day.date, error=cause)
            self._failure_causes[day.date] = cause
            return
        self._failure_causes.pop(day.date, None)
        connection.execute(
            "UPDATE facts.export_days d SET exported = greatest(d.exported, w.touched)"
            " FROM unnest(%s::int[], %s::bigint[]) AS w(source_id, touched)"
            " WHERE d.source_id = w.source_id AND d.date = %s",
            ([source.id for source in sources], [source.touched for source in sources], day.date),
        )
        self._written_count += 1

    def _write_files(self, day: OutdatedDay, sources: list[SourceDay], files: dict[str, list[bytes]]) -> None:
        """Each value of `files` starts with the header. Locks no row: a slow disk must not block the loader."""
        directory = self._directory / day.date.isoformat()
        directory.mkdir(parents=True, exist_ok=True)
        for name, lines in files.items():
            _replace_file(directory / f"{name}.csv", b"".join(lines))
        manifest = {
            "date": day.date,
            "sources": [source.name for source in sources],
            "complete": day.ended,
            "rows": {name: len(lines) - 1 for name, lines in files.items()},
        }
        _replace_file(directory / "manifest.json", orjson.dumps(manifest, option=orjson.OPT_INDENT_2))


@contextmanager
def _lock_day(connection: DbConnection, day: date) -> Iterator[bool]:
    """Try to lock the day until the block ends; yields False if another exporter holds the lock."""
    key = (LOCK_NAMESPACE, day.toordinal())
    is_locked = connection.execute("SELECT pg_try_advisory_lock(%s, %s)", key).fetchone() == (True,)
    try:
        yield is_locked
    finally:
        if is_locked and not connection.broken:
            connection.execute("SELECT pg_advisory_unlock(%s, %s)", key)


def _outdated_sources(connection: DbConnection, day: OutdatedDay) -> list[SourceDay]:
    """The sources of the day; empty if the day has changed again or another exporter has written it already."""
    rows = connection.execute(
        "SELECT d.source_id, d.touched, d.exported, s.name FROM facts.export_days d"
        " JOIN facts.sources s ON s.id = d.source_id WHERE d.date = %s ORDER BY s.name",
        (day.date,),
    ).fetchall()
    sources = [SourceDay(*row) for row in rows]
    moved = sum(source.touched for source in sources) != day.touched
    return [] if moved or all(source.touched <= source.exported for source in sources) else sources


def _read_csv_lines(connection: DbConnection, query: str, days: list[OutdatedDay]) -> dict[date, list[bytes]]:
    """The query's result as CSV lines by day, header first. COPY returns one row at a time."""
    select = sql.SQL(query).format(days=sql.Literal([day.date for day in days]))
    with connection.cursor() as cursor, cursor.copy(sql.SQL(_COPY).format(select)) as copy:
        rows = iter(copy)
        header = bytes(next(rows)).split(b",", 1)[1]
        lines = {day.date.isoformat().encode(): [header] for day in days}
        for row in rows:
            day, _, line = bytes(row).partition(b",")
            lines[day].append(line)
    return {date.fromisoformat(day.decode()): csv_lines for day, csv_lines in lines.items()}


def _replace_file(file: Path, content: bytes) -> None:
    partial_file = file.with_name(f".{file.name}.part")
    partial_file.write_bytes(content)
    partial_file.replace(file)
