"""A run that is to end by itself, with something paused by an operator."""

from __future__ import annotations

import json
import subprocess
import threading
from pathlib import Path

import psycopg
import pytest

from headrace.database.embedded import EmbeddedPostgres
from shared.database.migrations import migrate
from shared.ops.orders import DesiredState
from shared.ops.tables.steering import steer
from shared.topics import RAW
from tests.headrace.runs import RACES, RUN_LIMIT_S, command, logs, write_archive
from tests.processes import killed_at_end

pytestmark = pytest.mark.slow


def order(server: EmbeddedPostgres, desired: DesiredState) -> None:
    with psycopg.connect(server.url_with_password()) as connection:
        steer(connection, "cleaner", [RAW], desired, who="test", request_id="1")


def test_a_run_says_what_is_paused_and_goes_on_when_it_is_resumed(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    server = EmbeddedPostgres(data_dir)
    server.start()
    migrate(server.url_with_password())
    order(server, "paused")
    server.stop()
    run = command(write_archive(tmp_path / "archive"), data_dir, "--once", "--json")

    with killed_at_end(subprocess.Popen(run, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)) as process:
        limit = threading.Timer(RUN_LIMIT_S, process.kill)
        limit.start()
        assert process.stderr is not None
        pause_line = next((line for line in process.stderr if "is paused on" in line), "")
        order(server, "running") if pause_line else process.terminate()
        out, err = process.communicate()
        limit.cancel()

    assert "the cleaner is paused on raw-events: waiting for" in pause_line, logs(data_dir)
    assert "headrace resume cleaner raw-events" in pause_line
    assert process.returncode == 0, err
    assert json.loads(out.splitlines()[-1])["views"]["events"] == 2 * RACES
    assert "is paused on" not in err  # said once
