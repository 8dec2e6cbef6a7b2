"""A CSV file per day and table: `exports/YYYY-MM-DD/*.csv`, written aside and renamed, so that no reader sees a half.

A day is written when its last event has ended (or the day itself is over), and again whenever its rows change.
Beside the tables lies `manifest.json`: how many rows each file has, and whether every event of the day has ended.
"""

from __future__ import annotations

import threading
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

_OF_DAY = "SELECT e.* FROM analytics.events e JOIN analytics.sessions s USING (session_key) WHERE s.date = {day} AND s.source = {source}"  # noqa: E501
_ORDER = {
    "entries": "event_key, slot",
    "observations": "event_key, slot",
    "outcomes": "event_key, slot",
    "transactions": "event_key, market, ordinal",
    "predictions": "event_key, as_of, state, head, slot, class",
}
FILES = {
    "sessions": "SELECT * FROM analytics.sessions WHERE date = {day} AND source = {source} ORDER BY session_key",
    "events": f"{_OF_DAY} ORDER BY event_key",
    **{
        name: f"SELECT t.* FROM analytics.{name} t JOIN ({_OF_DAY}) e USING (event_key) ORDER BY {order}"
        for name, order in _ORDER.items()
    },
}


class Day(NamedTuple):
    """A day whose files are older than its rows."""

    source_id: int
    source: str
    date: date
    touched: int
    ended: bool


_OPEN_DAYS = """
SELECT d.source_id, so.name, d.date, d.touched, NOT EXISTS (
    SELECT FROM facts.sessions s JOIN facts.events e ON e.session_id = s.id
    WHERE s.date = d.date AND s.source_id = d.source_id AND e.status NOT IN ('settled', 'void', 'cancelled'))
FROM facts.export_days d JOIN facts.sources so ON so.id = d.source_id
WHERE d.touched > d.exported ORDER BY d.date, d.source_id
"""


class Exporter:
    """Looks for days to write, in a thread of its own with a connection of its own."""

    def __init__(self, conninfo: str, directory: Path, clock: Clock) -> None:
        self._link = Link(conninfo, "exports", autocommit=True)
        self._directory = directory
        self._clock = clock
        self._seen: dict[tuple[int, date], int] = {}
        self._written = 0
        self._log = structlog.get_logger()

    def status(self) -> dict[str, Any]:
        return {"exports_written": self._written}

    def run(self, stop: threading.Event) -> None:
        while not stop.wait(LOOK_EVERY_S):
            try:
                self.look(stop)
            except TransientError as error:
                self._log.warning("exports wait for the database", error=str(error))
            except OSError as error:
                self._log.error("cannot write the exports", directory=str(self._directory), error=error.strerror)
        self._link.drop()

    def look(self, stop: threading.Event) -> None:
        """Write every day that has not changed since the last look and has nothing more to wait for."""
        today = self._clock.now().date()
        with self._link.use() as connection:
            days = [Day(*row) for row in connection.execute(_OPEN_DAYS)]
            seen, self._seen = self._seen, {(day.source_id, day.date): day.touched for day in days}
            for day in days:
                rests = seen.get((day.source_id, day.date)) == day.touched
                if rests and (day.ended or day.date < today) and not stop.is_set():
                    self._write(connection, day)

    def _write(self, connection: DbConnection, day: Day) -> None:
        """The day's files from one snapshot; another loader that is at this day already is left alone."""
        with connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            mine = connection.execute(
                "SELECT touched FROM facts.export_days WHERE source_id = %s AND date = %s FOR UPDATE SKIP LOCKED",
                (day.source_id, day.date),
            ).fetchone()
            if mine is None or mine[0] != day.touched:
                return
            directory = self._directory / day.date.isoformat()
            directory.mkdir(parents=True, exist_ok=True)
            rows = {name: _copy(connection, query, day, directory / f"{name}.csv") for name, query in FILES.items()}
            manifest = {"source": day.source, "date": day.date, "complete": day.ended, "rows": rows}
            _replace(directory / "manifest.json", orjson.dumps(manifest, option=orjson.OPT_INDENT_2))
            connection.execute(
                "UPDATE facts.export_days SET exported = %s WHERE source_id = %s AND date = %s",
                (day.touched, day.source_id, day.date),
            )
        self._written += 1


def _copy(connection: DbConnection, query: str, day: Day, file: Path) -> int:
    """Returns the number of rows."""
    select = sql.SQL(query).format(day=sql.Literal(day.date), source=sql.Literal(day.source))
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
