"""The CSV files of a day: complete, written in time and after each correction, replaced atomically."""

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


class Export:
    """An exporter with its clock and its directory."""

    def __init__(self, url: str, directory: Path, now: datetime = NOON) -> None:
        self.directory = directory
        self.clock = StillClock(now)
        self.exporter = Exporter(url, directory, self.clock, quiet_period_s=0)

    def run(self, times: int = 2) -> None:
        """Runs the exporter. It writes a day at the second run that finds it unchanged."""
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
def export(database_url: str, tmp_path: Path) -> Iterator[Export]:
    yield (export := Export(database_url, tmp_path / "exports"))
    export.exporter._link.drop()


def test_a_day_is_written_when_its_last_event_has_ended(store: Store, export: Export) -> None:
    store(*(fact(number) for number in (1, 2) for fact in (listed, observed)), settled(1))
    export.run(3)
    assert not export.directory.exists()
    store(settled(2, status="void", outcomes=(), transactions=()))
    export.run()
    files = {path.name for path in (export.directory / "2031-05-06").iterdir()}
    assert files == {f"{name}.csv" for name in FILES} | {"manifest.json"}
    counts = {"sessions": 1, "events": 2, "entries": 8, "observations": 8, "outcomes": 4, "transactions": 5}
    assert export.manifest() == {
        "date": "2031-05-06",
        "sources": ["river"],
        "complete": True,
        "rows": counts | {"predictions": 0},
    }
    assert {name: len(export.rows(name)) for name in counts} == counts
    assert [row["status"] for row in export.rows("events")] == ["settled", "void"]


def test_an_unchanged_day_is_not_written_again(store: Store, export: Export) -> None:
    store(listed(), settled())
    export.run(5)
    assert export.written == 1


def test_a_correction_writes_the_day_again(store: Store, export: Export) -> None:
    store(listed(), settled())
    export.run()
    store(settled(known=30, outcomes=outcomes(2, 1, 3, 4)))
    export.run()
    assert export.written == 2
    assert [row["place"] for row in export.rows("outcomes")] == ["2", "1", "3", "4"]


def test_a_day_that_still_changes_is_not_written(store: Store, export: Export) -> None:
    store(listed(1), settled(1))
    export.run(1)
    store(listed(2), settled(2))
    export.run(1)
    assert export.written == 0
    export.run(1)
    assert len(export.rows("events")) == 2


def test_an_incomplete_day_is_written_when_it_is_over_and_marked_incomplete(store: Store, export: Export) -> None:
    store(listed(1), settled(1), listed(2))
    export.run(3)
    assert export.written == 0
    export.clock.at = NOON + timedelta(days=1)
    export.run(1)
    assert export.manifest()["complete"] is False
    assert [row["status"] for row in export.rows("events")] == ["settled", "listed"]
    store(settled(2))
    export.run()
    assert export.manifest()["complete"] is True


def test_every_day_has_its_own_files(store: Store, export: Export) -> None:
    next_day = DAY + timedelta(days=1)
    store(listed(), settled(), listed(day=next_day), settled(day=next_day))
    export.run()
    assert [row["event_key"] for row in export.rows("events")] == [key()]
    assert [row["event_key"] for row in export.rows("events", next_day)] == [key(day=next_day)]


def test_two_sources_of_one_day_share_its_files(store: Store, export: Export) -> None:
    def in_lake(fact: Any) -> Any:
        changes = {"source": "lake", "event_key": fact.event_key.replace("river", "lake")}
        if fact.kind == "listed":
            session = fact.session.model_copy(update={"session_key": fact.session.session_key.replace("river", "lake")})
            changes |= {"session": session}
        return fact.model_copy(update=changes)

    store(listed(), settled(), in_lake(listed()))
    export.run(3)
    assert export.written == 0
    store(in_lake(settled()))
    export.run()
    assert export.manifest()["sources"] == ["lake", "river"]
    assert [row["source"] for row in export.rows("sessions")] == ["lake", "river"]


def test_a_reader_never_sees_a_partial_file(store: Store, export: Export) -> None:
    store(listed(), settled())
    export.run()
    day, stop, observations = export.directory / "2031-05-06", threading.Event(), []

    def read() -> None:
        while not stop.is_set():
            text = (day / "outcomes.csv").read_text()
            observations.append(
                (text.count("\n"), text.endswith("\n"), len(json.loads((day / "manifest.json").read_text())))
            )

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for minute in range(30, 36):
            store(settled(known=minute, technique=minute % 5 + 1))
            export.run()
    finally:
        stop.set()
        reader.join()
    assert export.written == 7
    assert len(observations) > 7
    assert set(observations) == {(5, True, 4)}
    assert not list(day.glob(".*"))


def test_two_exporters_in_parallel_write_each_day_once(store: Store, database_url: str, tmp_path: Path) -> None:
    days = [DAY + timedelta(days=number) for number in range(8)]
    exports = [Export(database_url, tmp_path, NOON + timedelta(days=9)) for _ in range(2)]
    store(*(fact(day=day) for day in days for fact in (listed, settled)))
    for export in exports:
        export.run(1)
    threads = [threading.Thread(target=export.run, args=(1,)) for export in exports]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    exports[0].run(1)
    assert sum(export.written for export in exports) == len(days)
    assert [len(exports[0].rows("events", day)) for day in days] == [1] * len(days)
    for export in exports:
        export.exporter._link.drop()


def a_day_is_written(database: psycopg.Connection[Any]) -> bool:
    """Whether an exporter has locked a day and has read its rows: only then a change of the day comes too late."""
    query = (
        "SELECT FROM pg_stat_activity a JOIN pg_locks l USING (pid) WHERE a.datname = current_database()"
        " AND l.locktype = 'advisory' AND a.state = 'idle' AND a.query = 'COMMIT'"
    )
    return database.execute(query).rowcount == 1


def test_the_loader_never_waits_for_a_file(store: Store, export: Export, database: psycopg.Connection[Any]) -> None:
    """The day's rows change while it is written: the exporter blocks on a pipe that has no reader yet."""
    store(listed(), settled())
    export.run(1)
    day = export.directory / "2031-05-06"
    day.mkdir(parents=True)
    os.mkfifo(day / ".sessions.csv.part")
    writer = threading.Thread(target=export.run, args=(1,))
    writer.start()
    try:
        wait_until(lambda: a_day_is_written(database))
        store(settled(known=30, technique=3))
    finally:
        (day / ".sessions.csv.part").read_bytes()
        writer.join()
    assert export.rows("events")[0]["technique"] == "1"
    export.run()
    assert export.rows("events")[0]["technique"] == "3"


def test_a_day_that_cannot_be_written_does_not_block_others_and_is_retried(store: Store, export: Export) -> None:
    next_day = DAY + timedelta(days=1)
    store(listed(), settled(), listed(day=next_day), settled(day=next_day))
    export.directory.mkdir()
    obstacle = export.directory / "2031-05-06"
    obstacle.write_text("a file where the directory should be")
    with capture_logs() as logs:
        export.run(4)
    assert [(entry["log_level"], entry["day"], entry["error"]) for entry in logs] == [("error", DAY, "File exists")]
    assert export.exporter.status() == {"exports_written": 1, "exports_refused": 1}
    assert len(export.rows("events", next_day)) == 1
    obstacle.unlink()
    export.run(1)
    assert len(export.rows("events")) == 1
    assert export.exporter.status() == {"exports_written": 2, "exports_refused": 0}


def test_deleted_files_are_written_again_after_a_change(store: Store, export: Export) -> None:
    store(listed(), settled())
    export.run()
    shutil.rmtree(export.directory)
    store(settled(known=30, technique=3))
    export.run()
    assert len(export.rows("entries")) == 4


def test_the_export_thread_survives_a_cut_connection(
    store: Store, export: Export, database: psycopg.Connection[Any]
) -> None:
    stop = threading.Event()
    thread = threading.Thread(target=export.exporter.run, args=(stop,))
    thread.start()
    try:
        store(listed(), settled())
        wait_until(lambda: export.written == 1)
        terminated = terminate_backends(
            database, "datname = current_database() AND application_name = 'headrace exports'"
        )
        assert len(terminated) == 1
        store(settled(known=30, technique=3))
        wait_until(lambda: export.written == 2)
    finally:
        stop.set()
        thread.join()


def test_the_loaders_role_may_export(
    store: Store, roles: Callable[[str], dict[str, str]], database_url: str, tmp_path: Path
) -> None:
    store(listed(), settled())
    export = Export(roles(database_url)["headrace_loader"], tmp_path)
    export.run()
    assert export.manifest()["complete"] is True
    export.exporter._link.drop()
