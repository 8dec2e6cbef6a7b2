"""A job in a process of its own: it can be cancelled, and is restarted if the process or the replica ends."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psycopg
import pytest

from tests.services.predictor.jobs.operations import LIMIT_S, Database, create_operation, is_gone, row, wait_for_end
from tests.services.predictor.trainer import CRASHES, CRASHES_ONCE, ENDLESS, FORKS
from tests.services.predictor.training_replica import replica
from tests.waiting import wait_until

pytestmark = pytest.mark.slow


def wait_for_process(database: Database, operation_id: str, other_than: int = 0) -> int:
    """Waits until a process trains; returns its id."""

    def pid() -> int:
        message = row(database, operation_id).counts.get("said", "process 0")
        current = int(message.removeprefix("process "))
        return 0 if current == other_than else current

    return wait_until(pid, deadline_s=LIMIT_S)


def test_a_training_that_is_cancelled_ends_its_process(conninfo: str, models: Path, database: Database) -> None:
    operation_id = create_operation(database, seed=ENDLESS)

    with replica(conninfo, models):
        pid = wait_for_process(database, operation_id)
        wait_until(lambda: row(database, operation_id).left_s)
        assert row(database, operation_id).progress == 0.25
        database.execute("UPDATE ops.operations SET wanted = 'cancel' WHERE id = %s", (operation_id,))
        done = wait_for_end(database, operation_id)
        wait_until(is_gone(pid))

    assert done.state == "cancelled"


def test_child_processes_end_with_their_parent(conninfo: str, models: Path, database: Database) -> None:
    operation_id = create_operation(database, seed=FORKS)

    with replica(conninfo, models):
        forked = wait_for_process(database, operation_id)
        database.execute("UPDATE ops.operations SET wanted = 'cancel' WHERE id = %s", (operation_id,))
        wait_for_end(database, operation_id)
        wait_until(is_gone(forked))


def test_a_killed_process_is_replaced_and_starts_over(conninfo: str, models: Path, database: Database) -> None:
    operation_id = create_operation(database, seed=ENDLESS)

    with replica(conninfo, models):
        first = wait_for_process(database, operation_id)
        os.kill(first, signal.SIGKILL)
        wait_for_process(database, operation_id, other_than=first)

    assert row(database, operation_id).is_open


def test_a_killed_process_is_replaced_even_if_its_child_lives_on(
    conninfo: str, models: Path, database: Database
) -> None:
    operation_id = create_operation(database, seed=FORKS)

    with replica(conninfo, models):
        forked = wait_for_process(database, operation_id)
        os.kill(_parent(Path(f"/proc/{forked}")), signal.SIGKILL)
        try:
            wait_for_process(database, operation_id, other_than=forked)
        finally:
            os.kill(forked, signal.SIGKILL)


def test_a_process_that_crashes_is_restarted(conninfo: str, models: Path, database: Database) -> None:
    operation_id = create_operation(database, seed=CRASHES_ONCE)

    with replica(conninfo, models):
        done = wait_for_end(database, operation_id)

    assert (models.parent / "crashed").exists()
    assert done.state == "succeeded", done.error


def test_a_process_that_crashes_every_time_fails_the_operation(conninfo: str, models: Path, database: Database) -> None:
    operation_id = create_operation(database, seed=CRASHES)

    with replica(conninfo, models):
        done = wait_for_end(database, operation_id)

    assert done.state == "failed"
    assert "process exited with 9 and without a result" in (done.error or "")


def test_a_replica_that_stops_ends_its_process_and_another_one_continues(
    conninfo: str, models: Path, database: Database
) -> None:
    operation_id = create_operation(database, seed=ENDLESS)
    with replica(conninfo, models, "host-0"):
        first = wait_for_process(database, operation_id)

    assert is_gone(first)()
    assert row(database, operation_id).is_open
    database.execute("UPDATE ops.operations SET target = target || '{\"seed\": 1}' WHERE id = %s", (operation_id,))
    with replica(conninfo, models, "host-1"):
        assert wait_for_end(database, operation_id).state == "succeeded"


def test_only_one_of_several_replicas_executes_a_training(conninfo: str, models: Path, database: Database) -> None:
    operation_id = create_operation(database, seed=ENDLESS)

    with replica(conninfo, models, "host-0"), replica(conninfo, models, "host-1"):
        pid = wait_for_process(database, operation_id)
        worker = row(database, operation_id).worker or ""
        children = [
            int(each.name)
            for each in Path("/proc").iterdir()
            if each.name.isdecimal()
            and (each / "stat").exists()
            and _parent(each) == os.getpid()
            and b"predictor.trainer" in (each / "cmdline").read_bytes()
        ]

    assert children == [pid]
    assert worker.split("/")[0] in {"host-0", "host-1"}


def test_the_database_password_is_not_on_a_command_line(conninfo: str, models: Path, database: Database) -> None:
    operation_id = create_operation(database, seed=ENDLESS)
    password = psycopg.conninfo.conninfo_to_dict(conninfo)["password"]

    with replica(conninfo, models):
        pid = wait_for_process(database, operation_id)
        visible = Path(f"/proc/{pid}/cmdline").read_bytes() + Path(f"/proc/{pid}/environ").read_bytes()

    assert str(password).encode() not in visible


def _parent(process: Path) -> int:
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0
