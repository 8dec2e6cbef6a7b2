"""CSV files of a day: whole, in time, again after a correction, and never half."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from structlog.testing import capture_logs

from services.loader.exports import FILES, Exporter
from services.loader.load import Loader
from shared.runtime.metrics import Metrics
from tests.services.loader.facts import DAY, StillClock, key, listed, observed, outcomes, received, settled
from tests.waiting import terminate_backends, wait_until

NOON = datetime(2031, 5, 6, 12, tzinfo=UTC)
RUNNING = threading.Event()

Store = Callable[..., None]


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    """Loads facts and commits them."""
    loader = Loader(StillClock(), Metrics())
    with psycopg.connect(database_url) as connection:
        connection.execute("SET timezone = 'UTC'")

        def commit(*facts: Any) -> None:
            loader.handle([received(fact) for fact in facts], connection)
            connection.commit()

        yield commit


class Site:
    """An exporter of its own, its clock, and the directory it writes to."""

    def __init__(self, url: str, directory: Path, now: datetime = NOON) -> None:
        self.directory = directory
        self.clock = StillClock(now)
        self.exporter = Exporter(url, directory, self.clock, quiet_period_s=0)

    def look(self, times: int = 2) -> None:
        """A day is written at the second look that finds it at rest."""
        for _ in range(times):
            self.exporter.export_due_days(RUNNING)

    def rows(self, name: str, day: date = DAY) -> list[dict[str, str]]:
        return list(csv.DictReader(io.StringIO((self.directory / day.isoformat() / f"{name}.csv").read_text())))

    def manifest(self, day: date = DAY) -> Any:
        return json.loads((self.directory / day.isoformat() / "manifest.json").read_text())

    @property
    def written(self) -> int:
        return int(self.exporter.status()["exports_written"])


@pytest.fixture
def site(database_url: str, tmp_path: Path) -> Iterator[Site]:
    yield (made := Site(database_url, tmp_path / "exports"))
    made.exporter._link.drop()


def test_a_day_is_written_when_its_last_event_ended(store: Store, site: Site) -> None:
    store(*(fact(number) for number in (1, 2) for fact in (listed, observed)), settled(1))
    site.look(3)
    assert not site.directory.exists()
    store(settled(2, status="void", outcomes=(), transactions=()))
    site.look()
    files = {path.name for path in (site.directory / "2031-05-06").iterdir()}
    assert files == {f"{name}.csv" for name in FILES} | {"manifest.json"}
    counts = {"sessions": 1, "events": 2, "entries": 8, "observations": 8, "outcomes": 4, "transactions": 5}
    assert site.manifest() == {
        "date": "2031-05-06",
        "sources": ["river"],
        "complete": True,
        "rows": counts | {"predictions": 0},
    }
    assert {name: len(site.rows(name)) for name in counts} == counts
    assert [row["status"] for row in site.rows("events")] == ["settled", "void"]


def test_a_day_at_rest_is_not_written_again(store: Store, site: Site) -> None:
    store(listed(), settled())
    site.look(5)
    assert site.written == 1


def test_a_correction_writes_the_day_again(store: Store, site: Site) -> None:
    store(listed(), settled())
    site.look()
    store(settled(known=30, outcomes=outcomes(2, 1, 3, 4)))
    site.look()
    assert site.written == 2
    assert [row["place"] for row in site.rows("outcomes")] == ["2", "1", "3", "4"]


def test_a_day_that_still_moves_waits(store: Store, site: Site) -> None:
    store(listed(1), settled(1))
    site.look(1)
    store(listed(2), settled(2))
    site.look(1)
    assert site.written == 0
    site.look(1)
    assert len(site.rows("events")) == 2


def test_an_incomplete_day_is_written_once_it_is_over_and_says_so(store: Store, site: Site) -> None:
    store(listed(1), settled(1), listed(2))
    site.look(3)
    assert site.written == 0
    site.clock.at = NOON + timedelta(days=1)
    site.look(1)
    assert site.manifest()["complete"] is False
    assert [row["status"] for row in site.rows("events")] == ["settled", "listed"]
    store(settled(2))
    site.look()
    assert site.manifest()["complete"] is True


def test_every_day_has_files_of_its_own(store: Store, site: Site) -> None:
    next_day = DAY + timedelta(days=1)
    store(listed(), settled(), listed(day=next_day), settled(day=next_day))
    site.look()
    assert [row["event_key"] for row in site.rows("events")] == [key()]
    assert [row["event_key"] for row in site.rows("events", next_day)] == [key(day=next_day)]


def test_two_sources_of_one_day_share_its_files(store: Store, site: Site) -> None:
    def of_lake(fact: Any) -> Any:
        given = {"source": "lake", "event_key": fact.event_key.replace("river", "lake")}
        if fact.kind == "listed":
            named = fact.session.model_copy(update={"session_key": fact.session.session_key.replace("river", "lake")})
            given |= {"session": named}
        return fact.model_copy(update=given)

    store(listed(), settled(), of_lake(listed()))
    site.look(3)
    assert site.written == 0
    store(of_lake(settled()))
    site.look()
    assert site.manifest()["sources"] == ["lake", "river"]
    assert [row["source"] for row in site.rows("sessions")] == ["lake", "river"]


def test_nobody_sees_half_a_file(store: Store, site: Site) -> None:
    store(listed(), settled())
    site.look()
    day, stop, seen = site.directory / "2031-05-06", threading.Event(), []

    def read() -> None:
        while not stop.is_set():
            text = (day / "outcomes.csv").read_text()
            seen.append((text.count("\n"), text.endswith("\n"), len(json.loads((day / "manifest.json").read_text()))))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for minute in range(30, 36):
            store(settled(known=minute, technique=minute % 5 + 1))
            site.look()
    finally:
        stop.set()
        reader.join()
    assert site.written == 7
    assert len(seen) > 7
    assert set(seen) == {(5, True, 4)}
    assert not list(day.glob(".*"))


def test_two_exporters_side_by_side_write_each_day_once(store: Store, database_url: str, tmp_path: Path) -> None:
    days = [DAY + timedelta(days=number) for number in range(8)]
    sites = [Site(database_url, tmp_path, NOON + timedelta(days=9)) for _ in range(2)]
    store(*(fact(day=day) for day in days for fact in (listed, settled)))
    for site in sites:
        site.look(1)
    threads = [threading.Thread(target=site.look, args=(1,)) for site in sites]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sites[0].look(1)
    assert sum(site.written for site in sites) == len(days)
    assert [len(sites[0].rows("events", day)) for day in days] == [1] * len(days)
    for site in sites:
        site.exporter._link.drop()


def holds_a_day(database: psycopg.Connection[Any]) -> bool:
    held = database.execute(
        "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database"
        " WHERE l.locktype = 'advisory' AND d.datname = current_database()"
    ).fetchone()
    return held == (1,)


def test_the_loader_never_waits_for_a_file(store: Store, site: Site, database: psycopg.Connection[Any]) -> None:
    """The day's rows change while it is being written: the exporter stands at a file that nobody reads yet."""
    store(listed(), settled())
    site.look(1)
    day = site.directory / "2031-05-06"
    day.mkdir(parents=True)
    os.mkfifo(day / ".sessions.csv.part")
    writing = threading.Thread(target=site.look, args=(1,))
    writing.start()
    try:
        wait_until(lambda: holds_a_day(database))
        store(settled(known=30, technique=3))
    finally:
        (day / ".sessions.csv.part").read_bytes()
        writing.join()
    assert site.rows("events")[0]["technique"] == "1"
    site.look()
    assert site.rows("events")[0]["technique"] == "3"


def test_a_day_that_cannot_be_written_holds_up_no_other_and_is_tried_again(store: Store, site: Site) -> None:
    next_day = DAY + timedelta(days=1)
    store(listed(), settled(), listed(day=next_day), settled(day=next_day))
    site.directory.mkdir()
    obstacle = site.directory / "2031-05-06"
    obstacle.write_text("a file where the directory should be")
    with capture_logs() as logs:
        site.look(4)
    assert [(entry["log_level"], entry["day"], entry["error"]) for entry in logs] == [("error", DAY, "File exists")]
    assert site.exporter.status() == {"exports_written": 1, "exports_refused": 1}
    assert len(site.rows("events", next_day)) == 1
    obstacle.unlink()
    site.look(1)
    assert len(site.rows("events")) == 1
    assert site.exporter.status() == {"exports_written": 2, "exports_refused": 0}


def test_a_file_that_was_lost_while_writing_is_replaced(store: Store, site: Site) -> None:
    store(listed(), settled())
    site.look()
    shutil.rmtree(site.directory)
    store(settled(known=30, technique=3))
    site.look()
    assert len(site.rows("entries")) == 4


def test_the_thread_writes_by_itself_and_outlives_its_connection(
    store: Store, site: Site, database: psycopg.Connection[Any]
) -> None:
    stop = threading.Event()
    thread = threading.Thread(target=site.exporter.run, args=(stop,))
    thread.start()
    try:
        store(listed(), settled())
        wait_until(lambda: site.written == 1)
        cut = terminate_backends(database, "datname = current_database() AND application_name = 'headrace exports'")
        assert len(cut) == 1
        store(settled(known=30, technique=3))
        wait_until(lambda: site.written == 2)
    finally:
        stop.set()
        thread.join()


def test_the_loader_s_role_may_export(
    store: Store, roles: Callable[[str], dict[str, str]], database_url: str, tmp_path: Path
) -> None:
    store(listed(), settled())
    site = Site(roles(database_url)["headrace_loader"], tmp_path)
    site.look()
    assert site.manifest()["complete"] is True
    site.exporter._link.drop()
