"""Trainings and promotions as jobs: a replica takes one, a process works it off, and whatever dies is started over."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from headrace.database.embedded import EmbeddedPostgres
from services.predictor.jobs.kinds import PROMOTION, TRAINING
from services.predictor.registry import model_files, state_file, transitions
from shared.ops.operations import Operation
from shared.ops.tables import operations as operations_table
from tests.services.predictor.settled import BLUNT, TRUE, settle
from tests.services.predictor.shared_database import database_of, emptied
from tests.services.predictor.shelf_orders import BAD, label_of, order
from tests.services.predictor.trainer import DEADLY, DIES_ONCE, ENDLESS, FORKS, IMPOSSIBLE, QUICK
from tests.services.predictor.training_replica import PROGRAM, replica
from tests.shared.runtime.api.desks import as_role
from tests.shared.runtime.deadline import eventually

Database = psycopg.Connection[Any]
# Processes start slowly on a machine that has much to do.
LIMIT_S = 60.0
WISH = {"seed": QUICK, "until": None, "validate_days": None, "promote": True}


@pytest.fixture(scope="module")
def shared_url(postgres: EmbeddedPostgres) -> Iterator[str]:
    with database_of(postgres) as url:
        yield url


@pytest.fixture
def database(shared_url: str) -> Iterator[Database]:
    with emptied(shared_url) as connection:
        yield connection


@pytest.fixture
def conninfo(postgres: EmbeddedPostgres, shared_url: str, database: Database) -> str:
    return as_role(postgres, shared_url, "headrace_predictor").conninfo()


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "models"


def ordered(database: Database, kind: str = TRAINING, **changed: Any) -> str:
    target = (WISH if kind == TRAINING else {"reason": None}) | changed
    return operations_table.create(database, "predictor", kind, target, "token:night-shift", "").id


def row(database: Database, operation_id: str) -> Operation:
    found = operations_table.get(database, operation_id)
    assert found is not None
    return found


def over(database: Database, operation_id: str) -> Operation:
    eventually(lambda: not row(database, operation_id).is_open, LIMIT_S)
    return row(database, operation_id)


def running(database: Database, operation_id: str, other_than: int = 0) -> int:
    """The id of the process that trains."""

    def pid() -> int:
        said = row(database, operation_id).counts.get("said", "process 0")
        found = int(said.removeprefix("process "))
        return 0 if found == other_than else found

    return eventually(pid, LIMIT_S)


def is_gone(pid: int) -> Callable[[], bool]:
    return lambda: not Path(f"/proc/{pid}").exists()


def added(models: Path, seed: int, metrics: dict[str, float] | None = None) -> str:
    return transitions.add(models, "2031-04-30", label_of(seed, "2031-04-30", metrics), bytes(8), {}, order())


def test_a_training_ends_with_version_and_metrics_and_the_first_model_goes_live(
    conninfo: str, models: Path, database: Database
) -> None:
    operation_id = ordered(database)

    with replica(conninfo, models):
        done = over(database, operation_id)

    assert (done.state, done.progress) == ("succeeded", 1.0), done.error
    assert done.counts["metrics"]["observation_result"] == 1.15
    assert (done.counts["state"], done.counts["promoted"]) == ("live", True)
    book = state_file.read(models)
    assert book.live == done.counts["version"]
    assert book.history[-1].who == "token:night-shift"
    assert ("token:night-shift", "promote", f"model {book.live}") in database.execute(
        "SELECT who, action, target FROM ops.audit"
    ).fetchall()


def test_a_training_that_is_only_to_train_promotes_nothing(conninfo: str, models: Path, database: Database) -> None:
    operation_id = ordered(database, promote=False, until="2031-03-31")

    with replica(conninfo, models):
        done = over(database, operation_id)

    assert done.counts["version"].startswith("20310331-")
    assert done.counts["state"] == "candidate"
    assert not state_file.has_live(models)


def test_a_training_that_cannot_be_done_fails_and_says_why(conninfo: str, models: Path, database: Database) -> None:
    operation_id = ordered(database, seed=IMPOSSIBLE)

    with replica(conninfo, models):
        done = over(database, operation_id)

    assert (done.state, done.error) == (
        "failed",
        "training needs at least 100 settled events with their cards, found 3",
    )
    assert model_files.versions(models) == []


def test_a_training_that_is_cancelled_ends_its_process(conninfo: str, models: Path, database: Database) -> None:
    operation_id = ordered(database, seed=ENDLESS)

    with replica(conninfo, models):
        pid = running(database, operation_id)
        eventually(lambda: row(database, operation_id).left_s)
        assert row(database, operation_id).progress == 0.25
        database.execute("UPDATE ops.operations SET wanted = 'cancel' WHERE id = %s", (operation_id,))
        done = over(database, operation_id)
        eventually(is_gone(pid))

    assert done.state == "cancelled"


def test_what_a_process_started_ends_with_it(conninfo: str, models: Path, database: Database) -> None:
    operation_id = ordered(database, seed=FORKS)

    with replica(conninfo, models):
        forked = running(database, operation_id)
        database.execute("UPDATE ops.operations SET wanted = 'cancel' WHERE id = %s", (operation_id,))
        over(database, operation_id)
        eventually(is_gone(forked))


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
    assert "its process ended with 9 and no result" in (done.error or "")


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
            int(each.name) for each in Path("/proc").iterdir()
            if each.name.isdecimal() and (each / "stat").exists() and _parent(each) == os.getpid()
            and b"predictor.trainer" in (each / "cmdline").read_bytes()
        ]  # fmt: skip

    assert children == [pid]
    assert worker.split("/")[0] in {"host-0", "host-1"}


def _parent(process: Path) -> int:
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0


def test_nothing_of_the_database_s_password_is_on_a_command_line(
    conninfo: str, models: Path, database: Database
) -> None:
    operation_id = ordered(database, seed=ENDLESS)
    password = psycopg.conninfo.conninfo_to_dict(conninfo)["password"]

    with replica(conninfo, models):
        pid = running(database, operation_id)
        shown = Path(f"/proc/{pid}/cmdline").read_bytes() + Path(f"/proc/{pid}/environ").read_bytes()

    assert str(password).encode() not in shown


def test_a_promotion_is_decided_by_walking_over_stored_facts(conninfo: str, models: Path, database: Database) -> None:
    live, new = added(models, 1), added(models, 2)
    transitions.promote(models, live, order(), None)
    operation_id = ordered(database, PROMOTION, version=new, reason="it is May")

    with replica(conninfo, models, "host-0", "--walks"):
        done = over(database, operation_id)

    assert (done.state, done.counts["state"]) == ("succeeded", "live"), done.error
    assert "400 settled events of 34 days and venues (walk-forward)" in done.counts["gate"]
    book = state_file.read(models)
    assert (book.live, book.history[-1].why) == (new, "it is May")


def test_a_promotion_without_enough_to_judge_by_fails_and_says_what_to_do(
    conninfo: str, models: Path, database: Database
) -> None:
    live, new = added(models, 1), added(models, 2)
    transitions.promote(models, live, order(), None)
    settle(database, {live: BLUNT, new: TRUE}, days=3)
    operation_id = ordered(database, PROMOTION, version=new)

    with replica(conninfo, models):
        done = over(database, operation_id)

    assert done.state == "failed"
    assert f"headrace models shadow {new}" in (done.error or "")
    assert state_file.read(models).live == live


def test_a_training_next_to_a_live_model_leaves_a_candidate_and_says_why(
    conninfo: str, models: Path, database: Database
) -> None:
    live = added(models, 9, BAD)
    transitions.promote(models, live, order(), None)
    operation_id = ordered(database)

    with replica(conninfo, models):
        done = over(database, operation_id)

    assert (done.state, done.counts["state"], done.counts["promoted"]) == ("succeeded", "candidate", False)
    assert "too little to judge" in done.counts["gate"]
    assert state_file.read(models).live == live


def test_a_training_that_made_a_retired_model_once_more_succeeds_and_leaves_it_retired(
    conninfo: str, models: Path, database: Database
) -> None:
    transitions.retire(models, added(models, QUICK), order())
    operation_id = ordered(database)

    with replica(conninfo, models):
        done = over(database, operation_id)

    assert (done.state, done.counts["state"], done.counts["promoted"]) == ("succeeded", "retired", False)
    assert "is retired: run it as a shadow first" in done.counts["gate"]


def test_models_that_cannot_be_written_end_a_training_with_the_cause(
    conninfo: str, tmp_path: Path, database: Database
) -> None:
    (tmp_path / "file").touch()
    operation_id = ordered(database)

    with replica(conninfo, tmp_path / "file"):
        done = over(database, operation_id)

    assert (done.state, done.error) == ("failed", f"{tmp_path / 'file'}: File exists")


def test_a_process_whose_parent_is_gone_ends(conninfo: str, models: Path, database: Database) -> None:
    """By kill -9 even: its input is closed."""
    import subprocess

    parent = subprocess.Popen(
        [sys.executable, "-c", f"""
import json, subprocess, sys, time
child = subprocess.Popen({list(PROGRAM)!r}, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
child.stdin.write(json.dumps({{"kind": "training", "database_url": "", "models_dir": {str(models)!r}, "seed": {ENDLESS},
                              "who": "a test", "request": "1"}}).encode() + b"\\n")
child.stdin.flush()
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(60)
"""], stdout=subprocess.PIPE,
    )  # fmt: skip
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert not is_gone(pid)()

    parent.kill()
    parent.communicate()

    eventually(is_gone(pid))
