"""A job in a process of its own: it can be cancelled, and whatever dies is started over."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psycopg
import pytest

from tests.services.predictor.jobs.operations import LIMIT_S, Database, is_gone, ordered, over, row
from tests.services.predictor.trainer import DEADLY, DIES_ONCE, ENDLESS, FORKS
from tests.services.predictor.training_replica import replica
from tests.waiting import wait_until

pytestmark = pytest.mark.slow


def running(database: Database, operation_id: str, other_than: int = 0) -> int:
    """The id of the process that trains."""

    def pid() -> int:
        said = row(database, operation_id).counts.get("said", "process 0")
        found = int(said.removeprefix("process "))
        return 0 if found == other_than else found

    return wait_until(pid, deadline_s=LIMIT_S)


def test_a_training_that_is_cancelled_ends_its_process(conninfo: str, models: Path, database: Database) -> None:
    operation_id = ordered(database, seed=ENDLESS)

    with replica(conninfo, models):
        pid = running(database, operation_id)
        wait_until(lambda: row(database, operation_id).left_s)
        assert row(database, operation_id).progress == 0.25
        database.execute("UPDATE ops.operations SET wanted = 'cancel' WHERE id = %s", (operation_id,))
        done = over(database, operation_id)
        wait_until(is_gone(pid))

    assert done.state == "cancelled"


def test_what_a_process_started_ends_with_it(conninfo: str, models: Path, database: Database) -> None:
    operation_id = ordered(database, seed=FORKS)

    with replica(conninfo, models):
        forked = running(database, operation_id)
        database.execute("UPDATE ops.operations SET wanted = 'cancel' WHERE id = %s", (operation_id,))
        over(database, operation_id)
        wait_until(is_gone(forked))


def test_a_process_that_is_killed_gets_a_successor_that_starts_over(
    conninfo: str, models: Path, database: Database
) -> None:
    operation_id = ordered(database, seed=ENDLESS)

    with replica(conninfo, models):
        first = running(database, operation_id)
        os.kill(first, signal.SIGKILL)
        running(database, operation_id, other_than=first)

    assert row(database, operation_id).is_open


def test_a_process_that_is_killed_gets_a_successor_though_what_it_started_lives_on(
    conninfo: str, models: Path, database: Database
) -> None:
    operation_id = ordered(database, seed=FORKS)

    with replica(conninfo, models):
        forked = running(database, operation_id)
        os.kill(_parent(Path(f"/proc/{forked}")), signal.SIGKILL)
        try:
            running(database, operation_id, other_than=forked)
        finally:
            os.kill(forked, signal.SIGKILL)


def test_a_process_that_dies_by_itself_is_tried_again(conninfo: str, models: Path, database: Database) -> None:
    operation_id = ordered(database, seed=DIES_ONCE)

    with replica(conninfo, models):
        done = over(database, operation_id)

    assert (models.parent / "died").exists()
    assert done.state == "succeeded", done.error


def test_a_process_that_always_dies_is_given_up(conninfo: str, models: Path, database: Database) -> None:
    operation_id = ordered(database, seed=DEADLY)

    with replica(conninfo, models):
        done = over(database, operation_id)

    assert done.state == "failed"
    assert "process exited with 9 and without a result" in (done.error or "")


def test_a_replica_that_stops_ends_its_process_and_another_replica_goes_on(
    conninfo: str, models: Path, database: Database
) -> None:
    operation_id = ordered(database, seed=ENDLESS)
    with replica(conninfo, models, "host-0"):
        first = running(database, operation_id)

    assert is_gone(first)()
    assert row(database, operation_id).is_open
    database.execute("UPDATE ops.operations SET target = target || '{\"seed\": 1}' WHERE id = %s", (operation_id,))
    with replica(conninfo, models, "host-1"):
        assert over(database, operation_id).state == "succeeded"


def test_one_replica_of_several_works_a_training_off(conninfo: str, models: Path, database: Database) -> None:
    operation_id = ordered(database, seed=ENDLESS)

    with replica(conninfo, models, "host-0"), replica(conninfo, models, "host-1"):
        pid = running(database, operation_id)
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


def test_nothing_of_the_database_s_password_is_on_a_command_line(
    conninfo: str, models: Path, database: Database
) -> None:
    operation_id = ordered(database, seed=ENDLESS)
    password = psycopg.conninfo.conninfo_to_dict(conninfo)["password"]

    with replica(conninfo, models):
        pid = running(database, operation_id)
        shown = Path(f"/proc/{pid}/cmdline").read_bytes() + Path(f"/proc/{pid}/environ").read_bytes()

    assert str(password).encode() not in shown


def _parent(process: Path) -> int:
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0
