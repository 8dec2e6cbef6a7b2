"""Runs `headrace run` as a process over simulated days in the layout of the real source, and reads the results."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import psycopg

from headrace.database.access import open_database
from headrace.database.embedded import EmbeddedPostgres
from shared.settings.sections import Settings
from simulator.publisher import Publisher
from simulator.season import SeasonPlan, SimulatedSeason
from simulator.stages import PublicationSchedule
from tests.waiting import wait_until

DAYS = (date(2026, 1, 5), date(2026, 1, 6))
RACES = 12
# A deadline, not a measurement: twenty times the duration of a run on two idle cores.
RUN_LIMIT_S = 300.0
STOP_LIMIT_S = 60.0
T = TypeVar("T")

FEEDS = ("programs", "previews", "results")
TABLES = {
    "sessions": "SELECT * FROM analytics.sessions",
    "events": "SELECT * FROM analytics.events",
    "entities": "SELECT * FROM analytics.entities",
    "entries": "SELECT * FROM analytics.entries",
    "observations": "SELECT * FROM analytics.observations",
    "outcomes": "SELECT * FROM analytics.outcomes",
    "transactions": "SELECT * FROM analytics.transactions",
    "return_rates": "SELECT source, scope, key, market, bets, staked, returned FROM analytics.return_rates",
    "regressions": "SELECT event_key, kind, field, kept FROM analytics.regressions",
    "corrections": "SELECT event_key, kind, field, old, new FROM analytics.corrections",
}


def write_archive(directory: Path, days: Sequence[date] = DAYS) -> Path:
    """Days of one venue, one after the other, in the final state of a simulated source."""
    publisher = Publisher(
        SimulatedSeason(SeasonPlan(first_date=days[0], days=len(days), venues=(9,), races_per_venue=RACES)),
        PublicationSchedule(),
    )
    later = datetime.combine(days[-1], datetime.min.time(), UTC) + timedelta(days=3)
    for feed in FEEDS:
        for day in days:
            page = publisher.page(f"/{feed}/v2/{day:%Y/%Y%m%d}.json", later)
            assert page is not None
            file = document(directory, feed, day)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(gzip.compress(page.body, mtime=0))
    return directory


def document(archive: Path, feed: str, day: date) -> Path:
    return archive / "v2" / feed / f"{day:%Y}" / f"{day:%Y%m%d}.json.gz"


def command(archive: Path, data_dir: Path, *more: str) -> list[str]:
    days = ["--from", DAYS[0].isoformat(), "--to", DAYS[-1].isoformat()]
    source = ["--source", "archive", "--archive", str(archive)]
    return [sys.executable, "-m", "headrace", "run", *source, *days, "--data-dir", str(data_dir), *more]


def run_once(archive: Path, data_dir: Path, *more: str, limit_s: float = RUN_LIMIT_S) -> dict[str, Any]:
    result = subprocess.run(
        command(archive, data_dir, "--once", "--json", *more),
        capture_output=True,
        text=True,
        timeout=limit_s,
        check=False,
    )
    assert result.returncode == 0, f"{result.stderr}\n{logs(data_dir)}"
    summary: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return summary


def logs(data_dir: Path) -> str:
    return "\n".join(f"{log.name}: {log.read_text()[-1500:]}" for log in sorted((data_dir / "logs").glob("*.log")))


def tables(data_dir: Path) -> dict[str, list[str]]:
    """Every row of every table as text, sorted, without the ids that depend on the order of arrival."""
    with open_database(Settings(data_dir=data_dir)) as access, access.connect() as connection:
        return {
            name: [row for (row,) in connection.execute(f"SELECT t::text FROM ({query}) t ORDER BY 1")]  # type: ignore[misc]
            for name, query in TABLES.items()
        }


def status(data_dir: Path) -> list[dict[str, Any]]:
    arguments = [sys.executable, "-m", "headrace", "status", "--output", "json", "--data-dir", str(data_dir)]
    result = subprocess.run(arguments, capture_output=True, text=True, check=True)
    rows: list[dict[str, Any]] = json.loads(result.stdout)
    return rows


def until(condition: Callable[[], T | None], process: subprocess.Popen[str], data_dir: Path) -> T:
    """The first true value of the condition, while the process runs."""

    def check() -> T | None:
        assert process.poll() is None, f"{process.communicate()}\n{logs(data_dir)}"
        return condition()

    try:
        return wait_until(check)
    except AssertionError as error:
        error.add_note(logs(data_dir))
        raise


def gone(pid: int) -> bool:
    """No such process runs; a zombie counts as gone."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return state.strip() == "" or state.startswith("Z")


def pid_of(data_dir: Path, service: str) -> int | None:
    """The pid of a service from its row in ops.replicas; None if there is no row or no database yet."""
    server = EmbeddedPostgres(data_dir)
    if not server.password_file("headrace_owner").exists() or not server.accepts_connections():
        return None
    try:
        with psycopg.connect(server.url_with_password()) as connection:
            row = connection.execute("SELECT pid FROM ops.replicas WHERE service = %s", (service,)).fetchone()
    except psycopg.Error:
        return None
    return None if row is None else int(row[0])
