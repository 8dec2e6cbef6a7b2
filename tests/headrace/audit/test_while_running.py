"""Audits of a running pipeline whose services are killed: no record in flight is reported as missing or duplicate."""

from __future__ import annotations

import gzip
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from headrace.audit.accounting import Finding
from headrace.audit.audit_pass import AuditResult, AuditTarget, run_audit
from headrace.audit.window import AuditWindow
from headrace.database.embedded import EmbeddedPostgres
from services.fetcher.sources.yaml_file import load_source
from shared.broker.postgres.broker import PostgresBroker
from shared.errors import HeadraceError
from simulator.publisher import Publisher
from simulator.season import SeasonPlan, SimulatedSeason
from simulator.stages import PublicationSchedule
from tests.headrace.audit.pipeline import counts
from tests.headrace.runs import FEEDS, document, logs, pid_of

pytestmark = pytest.mark.slow
FIRST, DAYS, VENUES = date(2026, 1, 5), 4, (3, 9)
FACTS = 3 * DAYS * len(VENUES) * 12
REFERENCE_TABLES = 9
KILLS = 3
LIMIT_S = 300.0
# Small units, so that records are always in flight.
SMALL_BATCHES = "\n".join(f"{service}: {{batch_records: 12}}" for service in ("fetcher", "cleaner", "loader"))
KILLED = ("fetcher", "cleaner", "loader")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recorded")
    publisher = Publisher(
        SimulatedSeason(SeasonPlan(first_date=FIRST, days=DAYS, venues=VENUES, races_per_venue=12)),
        PublicationSchedule(),
    )
    later = datetime.combine(FIRST, datetime.min.time(), UTC) + timedelta(days=DAYS + 3)
    for day in (FIRST + timedelta(days=number) for number in range(DAYS)):
        for feed in FEEDS:
            page = publisher.page(f"/{feed}/v2/{day:%Y/%Y%m%d}.json", later)
            assert page is not None
            file = document(folder, feed, day)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(gzip.compress(page.body, mtime=0))
    return folder


@pytest.fixture
def running(recorded: Path, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`headrace run --once` in tmp_path; stopped at the end."""
    (tmp_path / "small.yaml").write_text(SMALL_BATCHES)
    source = ["--source", "archive", "--archive", str(recorded), "--once"]
    options = ["--data-dir", str(tmp_path / "data"), "--config", str(tmp_path / "small.yaml")]
    process = subprocess.Popen(
        [sys.executable, "-m", "headrace", "run", *source, *options],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    yield process
    if process.poll() is None:
        process.terminate()
    process.wait(60)


def test_nothing_is_reported_as_lost_while_services_run_and_are_killed(
    running: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    data_dir, classes, reported, kills = tmp_path / "data", set[str](), list[Finding](), 0
    rng = random.Random(5)
    deadline = time.monotonic() + LIMIT_S
    last_result = None

    while running.poll() is None:
        assert time.monotonic() < deadline, logs(data_dir)
        result = _audit(data_dir)
        if result is None:
            time.sleep(0.05)
            continue
        last_result, reported = result, [*reported, *result.findings]
        classes |= counts(result).keys()
        pid = pid_of(data_dir, rng.choice(KILLED)) if kills < KILLS else None
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                kills += 1

    assert running.returncode == 0, logs(data_dir)
    assert reported == []
    assert kills == KILLS
    assert {"in flight", "loaded"} <= classes
    assert last_result is not None
    assert sum(counts(last_result).values()) <= FACTS + REFERENCE_TABLES


def _audit(data_dir: Path) -> AuditResult | None:
    """None while the database is not there yet, or no longer."""
    server = EmbeddedPostgres(data_dir)
    if not server.password_file("headrace_owner").exists() or not server.accepts_connections():
        return None
    url = server.url_with_password()
    broker = PostgresBroker(url)
    try:
        with psycopg.connect(url, autocommit=True) as connection:
            target = AuditTarget(connection, broker, data_dir / "archive", {"boatrace": load_source("boatrace")})
            return run_audit(target, AuditWindow(), second_pass_delay_s=0.5)
    except (psycopg.Error, HeadraceError):  # the database is being created or stopped
        return None
    finally:
        broker.close()
