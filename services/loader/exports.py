"""A CSV file per day and table: `exports/YYYY-MM-DD/*.csv`, written aside and renamed, so that no reader sees a half.

A day is written when its last event has ended (or the day itself is over), and again whenever its rows change.
Beside the tables lies `manifest.json`: how many rows each file has, and whether every event of the day has ended.
Files hold the day of all sources; keys and a column of sessions.csv say whose a row is.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import structlog
from psycopg import sql

from shared.broker.contract import DbConnection
from shared.broker.postgres_link import Link
from shared.clock import Clock
from shared.errors import TransientError

# A day that changes all the time (a backfill passing through) is written once it rests, not at every unit.
LOOK_EVERY_S = 0.5

# With the date in the key of the advisory lock: exporters side by side never work at the same day.
LOCK = int.from_bytes(b"csv", "big")

_OF_DAY = "SELECT e.* FROM analytics.events e JOIN analytics.sessions s USING (session_key) WHERE s.date = {day}"
_ORDER = {
    "entries": "event_key, slot",
    "observations": "event_key, slot",
    "outcomes": "event_key, slot",
    "transactions": "event_key, market, ordinal",
    "predictions": "event_key, as_of, state, head, slot, class",
}
FILES = {
    "sessions": "SELECT * FROM analytics.sessions WHERE date = {day} ORDER BY session_key",
    "events": f"{_OF_DAY} ORDER BY event_key",
    **{
        name: f"SELECT t.* FROM analytics.{name} t JOIN ({_OF_DAY}) e USING (event_key) ORDER BY {order}"
        for name, order in _ORDER.items()
    },
}


class Day(NamedTuple):
    """A day whose files are older than its rows."""

    date: date
    touched: int
    ended: bool


_OPEN_DAYS = """
SELECT d.date, sum(d.touched)::bigint, NOT EXISTS (
    SELECT FROM facts.sessions s JOIN facts.events e ON e.session_id = s.id
    WHERE s.date = d.date AND e.status NOT IN ('settled', 'void', 'cancelled'))
FROM facts.export_days d GROUP BY d.date HAVING bool_or(d.touched > d.exported) ORDER BY d.date
"""


class Exporter:
    """Looks for days to write, in a thread of its own with a connection of its own."""

    def __init__(self, conninfo: str, directory: Path, clock: Clock) -> None:
        self._link = Link(conninfo, "exports", autocommit=True)
        self._directory = directory
        self._clock = clock
        self._seen: dict[date, int] = {}
        self._written = 0
        self._refused: dict[date, str] = {}
        self._log = structlog.get_logger()

    def status(self) -> dict[str, Any]:
        return {"exports_written": self._written, "exports_refused": len(self._refused)}

    def run(self, stop: threading.Event) -> None:
        while not stop.wait(LOOK_EVERY_S):
            try:
                self.look(stop)
            except TransientError as error:
                self._log.warning("exports wait for the database", error=str(error))
        self._link.drop()

    def look(self, stop: threading.Event) -> None:
        """Write every day that has not changed since the last look and has nothing more to wait for."""
        today = self._clock.now().date()
        with self._link.use() as connection:
            days = [Day(*row) for row in connection.execute(_OPEN_DAYS)]
            seen, self._seen = self._seen, {day.date: day.touched for day in days}
            for day in days:
                rests = seen.get(day.date) == day.touched
                if rests and (day.ended or day.date < today) and not stop.is_set():
                    self._try(connection, day)

    def _try(self, connection: DbConnection, day: Day) -> None:
        """A day that cannot be written holds up no other; it is tried at every look, and told of once a cause."""
        try:
            with _alone(connection, day.date) as is_mine:
                if is_mine:
                    self._write(connection, day)
            self._refused.pop(day.date, None)
        except OSError as error:
            cause = error.strerror or type(error).__name__
            if self._refused.get(day.date) != cause:
                self._log.error("cannot write the exports", directory=str(self._directory), day=day.date, error=cause)
            self._refused[day.date] = cause

    def _write(self, connection: DbConnection, day: Day) -> None:
        """The day's files from one snapshot. No row is locked meanwhile: a slow disk must not hold up the loader."""
        with connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            shown = connection.execute(
                "SELECT d.source_id, d.touched, d.exported, s.name FROM facts.export_days d"
                " JOIN facts.sources s ON s.id = d.source_id WHERE d.date = %s ORDER BY s.name",
                (day.date,),
            ).fetchall()
            if sum(row[1] for row in shown) != day.touched or all(touched <= done for _, touched, done, _ in shown):
                return  # it moves again, or another exporter was faster
            directory = self._directory / day.date.isoformat()
            directory.mkdir(parents=True, exist_ok=True)
            rows = {name: _copy(connection, query, day, directory / f"{name}.csv") for name, query in FILES.items()}
            sources = [row[3] for row in shown]
            manifest = {"date": day.date, "sources": sources, "complete": day.ended, "rows": rows}
            _replace(directory / "manifest.json", orjson.dumps(manifest, option=orjson.OPT_INDENT_2))
        connection.execute(
            "UPDATE facts.export_days d SET exported = greatest(d.exported, w.touched)"
            " FROM unnest(%s::int[], %s::bigint[]) AS w(source_id, touched)"
            " WHERE d.source_id = w.source_id AND d.date = %s",
            ([row[0] for row in shown], [row[1] for row in shown], day.date),
        )
        self._written += 1


@contextmanager
def _alone(connection: DbConnection, day: date) -> Iterator[bool]:
    """Whether no other exporter is at this day; none will be until the block ends."""
    key = (LOCK, day.toordinal())
    taken = connection.execute("SELECT pg_try_advisory_lock(%s, %s)", key).fetchone() == (True,)
    try:
        yield taken
    finally:
        if taken and not connection.broken:
            connection.execute("SELECT pg_advisory_unlock(%s, %s)", key)


def _copy(connection: DbConnection, query: str, day: Day, file: Path) -> int:
    """Returns the number of rows."""
    select = sql.SQL(query).format(day=sql.Literal(day.date))
    blocks = []
    with connection.cursor() as cursor:
        with cursor.copy(sql.SQL("COPY ({}) TO STDOUT WITH (FORMAT csv, HEADER)").format(select)) as copy:
            blocks = [bytes(block) for block in copy]
        rows = cursor.rowcount
    _replace(file, b"".join(blocks))
    return rows


def _replace(file: Path, content: bytes) -> None:
    aside = file.with_name(f".{file.name}.part")
    aside.write_bytes(content)
    aside.replace(file)
