"""`headrace run` as people use it: real processes, a real database, made-up days in the real source's layout."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from headrace.database.access import open_database
from headrace.database.data_dir import DataDir
from headrace.database.embedded import EmbeddedPostgres
from shared.settings.sections import Settings
from shared.topics import SERVICES
from tests.headrace.runs import (
    DAYS,
    RACES,
    RUN_LIMIT_S,
    STOP_LIMIT_S,
    command,
    document,
    gone,
    pid_of,
    run_once,
    status,
    tables,
    until,
    write_archive,
)
from tests.waiting import wait_until

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_archive(tmp_path_factory.mktemp("archive"))


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("run") / "data"


@pytest.fixture(scope="module")
def first_run(archive: Path, data_dir: Path) -> dict[str, Any]:
    return run_once(archive, data_dir)


@pytest.fixture
def started() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts `headrace run` in the background; at the end it is gone, whatever the test did."""
    running: list[subprocess.Popen[str]] = []

    def start(archive: Path, data_dir: Path, *more: str) -> subprocess.Popen[str]:
        running.append(
            subprocess.Popen(
                command(archive, data_dir, *more), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
        )
        return running[-1]

    yield start
    for process in running:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=STOP_LIMIT_S)


def test_a_recorded_span_ends_as_rows(first_run: dict[str, Any]) -> None:
    views = first_run["views"]

    assert (views["sessions"], views["events"], views["entries"]) == (2, 2 * RACES, 2 * RACES * 6)
    assert first_run["topics"]["raw-events"]["in"] >= 3 * 2 * RACES
    assert first_run["topics"]["clean-events"]["out"] == first_run["topics"]["clean-events"]["records"]
    assert (first_run["dead_letters"], first_run["parked"], first_run["failed_windows"]) == (0, 0, [])
    assert first_run["days"] == {"asked": 2, "found": 2, "missing": [], "more_gaps": 0}
    assert set(first_run["stages"]) == set(SERVICES)


def test_each_day_has_its_csv_files(first_run: dict[str, Any], data_dir: Path) -> None:
    for day in DAYS:
        files = {file.name for file in (data_dir / "exports" / day.isoformat()).glob("*.csv")}

        assert {"events.csv", "outcomes.csv", "transactions.csv"} <= files


def test_nothing_runs_after_the_end(first_run: dict[str, Any], data_dir: Path) -> None:
    assert not EmbeddedPostgres(data_dir).accepts_connections()
    assert [row["state"] for row in status(data_dir)] == ["stopped"] * 5


def test_the_same_span_again_changes_nothing(first_run: dict[str, Any], archive: Path, data_dir: Path) -> None:
    before = tables(data_dir)

    again = run_once(archive, data_dir)

    assert tables(data_dir) == before
    assert {topic: counts["in"] for topic, counts in again["topics"].items()} == dict.fromkeys(first_run["topics"], 0)
    assert again["views"] == first_run["views"]


@pytest.mark.parametrize("victim", ["loader", pytest.param("cleaner", marks=pytest.mark.long)])
def test_a_killed_service_changes_no_row(
    first_run: dict[str, Any],
    archive: Path,
    data_dir: Path,
    tmp_path: Path,
    victim: str,
    started: Callable[..., subprocess.Popen[str]],
) -> None:
    other = tmp_path / "data"
    process = started(archive, other, "--once", "--json")
    pid = until(lambda: pid_of(other, victim), process, other)

    os.kill(pid, signal.SIGKILL)
    out, err = process.communicate(timeout=RUN_LIMIT_S)

    assert process.returncode == 0, err
    assert f"{victim}-0 ended and is started again" in err
    assert json.loads(out.splitlines()[-1])["views"] == first_run["views"]
    assert tables(other) == tables(data_dir)


def test_ctrl_c_stops_everything_and_leaves_nothing(
    archive: Path, data_dir: Path, first_run: dict[str, Any], started: Callable[..., subprocess.Popen[str]]
) -> None:
    process = started(archive, data_dir)
    rows = until(lambda: all_running(data_dir), process, data_dir)
    server = EmbeddedPostgres(data_dir).pid()
    second = subprocess.run(
        command(archive, data_dir), capture_output=True, text=True, check=False, timeout=RUN_LIMIT_S
    )

    process.send_signal(signal.SIGINT)
    process.wait(timeout=STOP_LIMIT_S)

    assert process.returncode == 130
    assert all(gone(row["pid"]) for row in rows)
    assert server is not None
    assert gone(server)
    assert second.returncode == 2
    assert f"(pid {process.pid})" in second.stderr


def test_services_do_not_outlive_a_killed_run(
    archive: Path, data_dir: Path, first_run: dict[str, Any], started: Callable[..., subprocess.Popen[str]]
) -> None:
    process = started(archive, data_dir)
    rows = until(lambda: all_running(data_dir), process, data_dir)

    process.kill()
    process.wait()

    wait_until(lambda: all(gone(row["pid"]) for row in rows))
    with open_database(Settings(data_dir=data_dir)):  # whose end stops the server that was left
        assert DataDir(data_dir).token_file.stat().st_mode & 0o077 == 0


def all_running(data_dir: Path) -> list[dict[str, Any]] | None:
    rows = status(data_dir)
    return rows if all(row["state"] == "running" and row["ready"] for row in rows) else None


def test_bad_documents_fail_their_windows_and_nothing_else(tmp_path: Path) -> None:
    archive = write_archive(tmp_path / "archive")
    whole = document(archive, "results", DAYS[0]).read_bytes()
    document(archive, "results", DAYS[0]).write_bytes(whole[: len(whole) // 2])
    document(archive, "previews", DAYS[0]).write_bytes(gzip.compress(b"<html>no JSON</html>"))
    document(archive, "previews", DAYS[1]).write_bytes(gzip.compress(b'{"races": 3}'))

    summary = run_once(archive, tmp_path / "data")

    assert len(summary["failed_windows"]) == 3
    assert (summary["views"]["events"], summary["views"]["sessions"]) == (2 * RACES, 2)
    assert summary["views"]["outcomes"] > 0
    arguments = [sys.executable, "-m", "headrace", "status", "--data-dir", str(tmp_path / "data")]
    shown = subprocess.run(arguments, capture_output=True, text=True, check=True).stdout
    assert shown.count("failed window") == 3


def test_a_span_with_gaps_names_the_missing_days_and_links_are_followed(tmp_path: Path) -> None:
    archive = write_archive(tmp_path / "archive")
    (archive / "v2" / "programs" / "2026").rename(tmp_path / "elsewhere")
    (archive / "v2" / "programs" / "2026").symlink_to(tmp_path / "elsewhere")
    span = ("--from", "2026-01-04", "--to", "2026-01-09", "--once")

    done = subprocess.run(
        command(archive, tmp_path / "data", *span), capture_output=True, text=True, timeout=RUN_LIMIT_S, check=False
    )

    assert done.returncode == 0, done.stderr
    days, loaded = (next(line for line in done.stdout.splitlines() if line.startswith(n)) for n in ("Days", "Loaded"))
    assert days == "Days           2 of 6; none for 2026-01-04, 2026-01-07 to 2026-01-09"
    assert f"{2 * RACES} events" in loaded
