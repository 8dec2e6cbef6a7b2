"""What a job's process does: trainings and promotions, their results and refusals."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from services.predictor.jobs.kinds import PROMOTION
from services.predictor.registry import model_files, state_file, transitions
from tests.services.predictor.jobs.operations import Database, is_gone, ordered, over
from tests.services.predictor.settled import BLUNT, TRUE, settle
from tests.services.predictor.shelf_orders import BAD, label_of, order
from tests.services.predictor.trainer import ENDLESS, IMPOSSIBLE, QUICK
from tests.services.predictor.training_replica import PROGRAM, replica
from tests.waiting import wait_until

pytestmark = pytest.mark.slow


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
    assert "too few events to compare" in done.counts["gate"]
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
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"""
import json, subprocess, sys, time
child = subprocess.Popen({list(PROGRAM)!r}, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
child.stdin.write(json.dumps({{"kind": "training", "database_url": "", "models_dir": {str(models)!r}, "seed": {ENDLESS},
                              "who": "a test", "request": "1"}}).encode() + b"\\n")
child.stdin.flush()
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(60)
""",
        ],
        stdout=subprocess.PIPE,
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert not is_gone(pid)()

    parent.kill()
    parent.communicate()

    wait_until(is_gone(pid))
