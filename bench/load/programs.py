"""Measures a program that loads the records into a flat table of its own: the bare script, and each Python peer.

A program gets its settings as environment variables, creates the file LOAD_READY and then reads its first record.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg

from bench.load.records import content_of
from bench.load.site import LoadCost, LoadSite, TargetDatabase
from bench.scale_site import FailedMeasurement, wait_until
from shared.topics import CLEAN

ROOT = Path(__file__).parents[2]
TABLE = """
CREATE TABLE events (
    event_key text PRIMARY KEY,
    source text NOT NULL,
    session_key text NOT NULL,
    number integer NOT NULL,
    scheduled_at timestamptz,
    distance_m integer,
    known_at timestamptz NOT NULL,
    document_hash text NOT NULL
)
"""


def measure_program(
    site: LoadSite, command: Sequence[str], *, creates_table: bool = False, table: str = "events"
) -> LoadCost:
    """`creates_table`: whether the program creates its table itself."""
    with site.database() as database:
        if not creates_table:
            with psycopg.connect(database.url, autocommit=True) as owner:
                owner.execute(TABLE)
        ready = database.place / "ready"
        with _running(command, _environment(site, database, ready), database.place / "log") as process:
            wait_until(lambda: ready.exists() or not process.is_running(), f"{command[-1]} to start")
            query = f"SELECT count(*), coalesce(sum(distance_m), 0) FROM {table}"
            try:
                return site.measure(database, [process], query, content_of(site.records))
            except FailedMeasurement as error:
                raise FailedMeasurement(f"{error}; {last_line(database.place / 'log')}") from error


def last_line(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1][:300] if lines else "it printed nothing"


def _environment(site: LoadSite, database: TargetDatabase, ready: Path) -> dict[str, str]:
    return {
        "LOAD_KAFKA": site.kafka.address,
        "LOAD_TOPIC": CLEAN,
        "LOAD_RECORDS": str(site.records),
        "LOAD_READY": str(ready),
        "PGHOST": "127.0.0.1",
        "PGUSER": database.user,
        "PGDATABASE": database.name,
        "PGPASSWORD": database.password,
        "PYTHONPATH": str(ROOT),
        "HOME": str(database.place),
    }


@contextmanager
def _running(command: Sequence[str], environment: Mapping[str, str], log: Path) -> Iterator[psutil.Process]:
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, env={**os.environ, **environment}, cwd=log.parent, stdout=out, stderr=subprocess.STDOUT
        )
        try:
            yield psutil.Process(process.pid)
        finally:
            process.kill()
            process.wait()
