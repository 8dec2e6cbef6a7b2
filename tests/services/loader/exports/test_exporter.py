"""Daily files: complete, written in time and after each correction, replaced at once."""

from __future__ import annotations

import csv
import io
import shutil
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
from structlog.testing import capture_logs

from services.loader.exports.tables import TABLES
from services.loader.exports.target import FolderTarget
from shared.events import Transaction
from tests.services.loader.exports.conftest import NOON, Export, MakeExport, Store
from tests.services.loader.facts import DAY, key, listed, observed, outcomes, settled
from tests.waiting import terminate_backends, wait_until

# How long a day waits for another one.
MEETING_S = 30.0


def test_a_day_is_written_when_its_last_event_has_ended(store: Store, export: Export) -> None:
    store(*(fact(number) for number in (1, 2) for fact in (listed, observed)), settled(1))
    export.run(3)
    assert not export.folder.exists()
    store(settled(2, status="void", outcomes=(), transactions=()))
    export.run()
    files = {path.name for path in (export.folder / "2031-05-06").iterdir()}
    assert files == {f"{name}.csv" for name in TABLES} | {"manifest.json", "by-hash"}
    counts = {"sessions": 1, "events": 2, "entries": 8, "observations": 8, "outcomes": 4, "transactions": 5}
    manifest = export.manifest()
    assert {name: manifest[name] for name in ("date", "sources", "complete", "rows", "generation", "written_at")} == {
        "date": "2031-05-06",
        "sources": ["river"],
        "complete": True,
        "rows": counts | {"predictions": 0},
        "generation": 1,
        "written_at": "2031-05-06T12:00:00+00:00",
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


def test_the_manifest_names_files_with_the_content_of_the_csv_files_of_the_day(store: Store, export: Export) -> None:
    store(listed(), settled())
    export.run()
    for (table, _), content in export.verified_files().items():
        assert content == (export.folder / f"2031-05-06/{table}.csv").read_bytes()
        assert content.count(b"\n") == export.manifest()["rows"][table] + 1


def test_a_reader_of_the_manifest_never_sees_a_mixture(store: Store, export: Export) -> None:
    """Every correction changes two tables. Superseded files stay, as they do for the grace period."""
    store(listed(), settled())
    export.run()
    stop, observations = threading.Event(), set()

    def read() -> None:
        while not stop.is_set():
            files = export.verified_files()
            [event] = csv.DictReader(io.StringIO(files["events", "csv"].decode()))
            transactions = csv.DictReader(io.StringIO(files["transactions", "csv"].decode()))
            [amount] = [row["amount"] for row in transactions if row["market"] == "win"]
            observations.add((event["technique"], amount))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for number in range(1, 7):
            paid = (Transaction(market="win", selection="1", amount=100 * number, ordinal=1),)
            store(settled(known=30 + number, technique=number % 6, transactions=paid))
            export.run()
        wait_until(lambda: len(observations) > 1)
    finally:
        stop.set()
        reader.join()
    assert export.written == 7
    assert observations <= {("1", "160"), *((str(number % 6), str(100 * number)) for number in range(1, 7))}
    assert not list((export.folder / "2031-05-06").glob(".*"))


def test_superseded_files_are_removed_after_the_grace_period(store: Store, make_export: MakeExport) -> None:
    export = make_export(grace_s=3600)
    store(listed(), settled())
    export.run()
    first = {file["path"] for file in export.manifest()["files"]}
    store(settled(known=30, technique=3))
    export.run()
    export.remove_superseded()
    second = {file["path"] for file in export.manifest()["files"]}
    assert export.manifest()["generation"] == 2
    assert len(first - second) == 1
    assert all((export.folder / path).exists() for path in first | second)
    # A process that starts later finds what the first one has left.
    successor = make_export()
    successor.remove_superseded()
    stored = {str(path.relative_to(export.folder)) for path in export.folder.glob("*/by-hash/*")}
    assert stored == second
    assert not (export.folder / ".pending").exists()


def test_two_exporters_in_parallel_write_each_day_once(store: Store, make_export: MakeExport) -> None:
    days = [DAY + timedelta(days=number) for number in range(8)]
    exports = [make_export(now=NOON + timedelta(days=9)) for _ in range(2)]
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


class BlockedTarget(FolderTarget):
    """A folder that accepts no file until it is opened."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.is_waiting, self.opened = threading.Event(), threading.Event()

    def store(self, file: Path, name: str) -> None:
        self.is_waiting.set()
        self.opened.wait()
        super().store(file, name)


class MeetingTarget(FolderTarget):
    """A folder that creates the file of a pending day when that of a second day is created too."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._meeting = threading.Barrier(2)

    def write(self, content: bytes, name: str) -> None:
        if not content:
            self._meeting.wait(MEETING_S)
        super().write(content, name)


def test_days_are_stored_at_the_same_time(store: Store, make_export: MakeExport, tmp_path: Path) -> None:
    next_day = DAY + timedelta(days=1)
    store(listed(), settled(), listed(day=next_day), settled(day=next_day))
    export = make_export(target=MeetingTarget(tmp_path / "exports"), now=NOON + timedelta(days=2))
    export.run()
    assert export.written == 2


def test_the_loader_never_waits_for_a_target(store: Store, make_export: MakeExport, tmp_path: Path) -> None:
    """The day's rows change after the exporter has read them and before they are stored."""
    target = BlockedTarget(tmp_path / "exports")
    export = make_export(target=target)
    store(listed(), settled())
    export.run(1)
    writer = threading.Thread(target=export.run, args=(1,))
    writer.start()
    try:
        wait_until(target.is_waiting.is_set)
        store(settled(known=30, technique=3))
    finally:
        target.opened.set()
        writer.join()
    assert export.rows("events")[0]["technique"] == "1"
    export.run()
    assert export.rows("events")[0]["technique"] == "3"


def test_a_day_that_cannot_be_written_does_not_block_others_and_is_retried(store: Store, export: Export) -> None:
    next_day = DAY + timedelta(days=1)
    store(listed(), settled(), listed(day=next_day), settled(day=next_day))
    export.folder.mkdir()
    obstacle = export.folder / "2031-05-06"
    obstacle.write_text("a file where the directory should be")
    with capture_logs() as logs:
        export.run(4)
    assert [(entry["log_level"], entry["day"], entry["error"]) for entry in logs] == [("error", DAY, "Not a directory")]
    target = {"exports_target": str(export.folder)}
    assert export.exporter.status() == target | {
        "exports_written": 1, "exports_refused": 1, "exports_error": "Not a directory"
    }  # fmt: skip
    assert len(export.rows("events", next_day)) == 1
    obstacle.unlink()
    export.run(1)
    assert len(export.rows("events")) == 1
    assert export.exporter.status() == target | {"exports_written": 2, "exports_refused": 0, "exports_error": None}


def test_deleted_files_are_written_again_after_a_change(store: Store, export: Export) -> None:
    store(listed(), settled())
    export.run()
    shutil.rmtree(export.folder)
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
