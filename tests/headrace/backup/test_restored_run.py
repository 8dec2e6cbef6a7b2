"""A backup of a pipeline at work, an accident, and the restored pipeline to its end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from headrace.database.embedded import EmbeddedPostgres
from tests.headrace.runs import RUN_LIMIT_S, command, run_once, tables, until, write_archive
from tests.waiting import wait_until

pytestmark = pytest.mark.long


def headrace(*arguments: str) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "headrace", *arguments], check=False, capture_output=True, text=True, timeout=RUN_LIMIT_S
    )
    assert result.returncode == 0, result.stderr


def count(data_dir: Path, query: str) -> int | None:
    """The first value of a query; None if the database does not exist yet."""
    server = EmbeddedPostgres(data_dir)
    if not server.password_file("headrace_owner").exists() or not server.accepts_connections():
        return None
    try:
        with psycopg.connect(server.url_with_password()) as connection:
            row = connection.execute(query.encode()).fetchone()
    except psycopg.Error:
        return None
    return None if row is None else int(row[0])


def test_a_restored_run_ends_with_the_rows_of_a_run_without_accident(tmp_path: Path) -> None:
    archive = write_archive(tmp_path / "archive")
    data_dir, backup = tmp_path / "data", tmp_path / "backup"
    run_once(archive, tmp_path / "undisturbed")
    expected = tables(tmp_path / "undisturbed")
    run = subprocess.Popen(
        command(archive, data_dir), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        until(lambda: count(data_dir, "SELECT count(*) FROM facts.events"), run, data_dir)
        headrace("backup", str(backup), "--data-dir", str(data_dir))
        until(lambda: count(data_dir, "SELECT count(*) FROM facts.outcomes"), run, data_dir)
    finally:
        os.killpg(run.pid, signal.SIGKILL)
        run.communicate()
    sessions = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND datname = 'headrace'"
    wait_until(lambda: count(data_dir, sessions) == 1, "the end of the services")

    headrace("restore", str(backup), "--replace", "headrace", "--data-dir", str(data_dir))
    run_once(archive, data_dir)

    assert tables(data_dir) == expected
