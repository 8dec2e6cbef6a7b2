"""The process of a job: trainings and promotions, their results and their errors."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from services.predictor.jobs.kinds import PROMOTION
from services.predictor.registry import model_files, state_file, transitions
from tests.services.predictor.jobs.operations import Database, create_operation, is_gone, wait_for_end
from tests.services.predictor.model_requests import BAD, label_of, order
from tests.services.predictor.settled_rows import BLUNT, TRUE, settle
from tests.services.predictor.trainer import ENDLESS, IMPOSSIBLE, QUICK
from tests.services.predictor.training_replica import PROGRAM, replica
from tests.waiting import wait_until

pytestmark = pytest.mark.slow


def add_model(models: Path, seed: int, metrics: dict[str, float] | None = None) -> str:
    return transitions.add(models, "2031-04-30", label_of(seed, "2031-04-30", metrics), bytes(8), {}, order())


def test_a_training_ends_with_version_and_metrics_and_the_first_model_goes_live(
    conninfo: str, models: Path, database: Database
) -> None:
    operation_id = create_operation(database)

    with replica(conninfo, models):
        operation = wait_for_end(database, operation_id)

    assert (operation.state, operation.progress) == ("succeeded", 1.0), operation.error
    assert operation.counts["metrics"]["observation_result"] == 1.15
    assert (operation.counts["state"], operation.counts["promoted"]) == ("live", True)
    registry = state_file.read(models)
    assert registry.live == operation.counts["version"]
    assert registry.history[-1].who == "token:night-shift"
    assert ("token:night-shift", "promote", f"model {registry.live}") in database.execute(
        "SELECT who, action, target FROM ops.audit"
    ).fetchall()


def test_a_training_without_promotion_leaves_a_candidate(conninfo: str, models: Path, database: Database) -> None:
    operation_id = create_operation(database, promote=False, until="2031-03-31")

    with replica(conninfo, models):
        operation = wait_for_end(database, operation_id)

    assert operation.counts["version"].startswith("20310331-")
    assert operation.counts["state"] == "candidate"
    assert not state_file.has_live(models)


def test_an_impossible_training_fails_with_its_reason(conninfo: str, models: Path, database: Database) -> None:
    operation_id = create_operation(database, seed=IMPOSSIBLE)

    with replica(conninfo, models):
        operation = wait_for_end(database, operation_id)

    assert (operation.state, operation.error) == (
        "failed",
        "training needs at least 100 settled events with their cards, found 3",
    )
    assert model_files.versions(models) == []


def test_a_promotion_is_decided_by_a_replay_of_stored_facts(conninfo: str, models: Path, database: Database) -> None:
    live, new = add_model(models, 1), add_model(models, 2)
    transitions.promote(models, live, order(), None)
    operation_id = create_operation(database, PROMOTION, version=new, reason="it is May")

    with replica(conninfo, models, "host-0", "--replay"):
        operation = wait_for_end(database, operation_id)

    assert (operation.state, operation.counts["state"]) == ("succeeded", "live"), operation.error
    assert "400 settled events of 34 days and venues (walk-forward)" in operation.counts["gate"]
    registry = state_file.read(models)
    assert (registry.live, registry.history[-1].why) == (new, "it is May")


def test_a_promotion_with_too_little_evidence_fails_and_says_what_to_do(
    conninfo: str, models: Path, database: Database
) -> None:
    live, new = add_model(models, 1), add_model(models, 2)
    transitions.promote(models, live, order(), None)
    settle(database, {live: BLUNT, new: TRUE}, days=3)
    operation_id = create_operation(database, PROMOTION, version=new)

    with replica(conninfo, models):
        operation = wait_for_end(database, operation_id)

    assert operation.state == "failed"
    assert f"headrace models shadow {new}" in (operation.error or "")
    assert state_file.read(models).live == live


def test_a_training_next_to_a_live_model_leaves_a_candidate_and_says_why(
    conninfo: str, models: Path, database: Database
) -> None:
    live = add_model(models, 9, BAD)
    transitions.promote(models, live, order(), None)
    operation_id = create_operation(database)

    with replica(conninfo, models):
        operation = wait_for_end(database, operation_id)

    assert (operation.state, operation.counts["state"], operation.counts["promoted"]) == (
        "succeeded",
        "candidate",
        False,
    )
    assert "too few events to compare" in operation.counts["gate"]
    assert state_file.read(models).live == live


def test_a_training_that_reproduces_a_retired_model_leaves_it_retired(
    conninfo: str, models: Path, database: Database
) -> None:
    transitions.retire(models, add_model(models, QUICK), order())
    operation_id = create_operation(database)

    with replica(conninfo, models):
        operation = wait_for_end(database, operation_id)

    assert (operation.state, operation.counts["state"], operation.counts["promoted"]) == ("succeeded", "retired", False)
    assert "is retired: run it as a shadow first" in operation.counts["gate"]


def test_a_training_fails_with_the_cause_if_models_cannot_be_written(
    conninfo: str, tmp_path: Path, database: Database
) -> None:
    (tmp_path / "file").touch()
    operation_id = create_operation(database)

    with replica(conninfo, tmp_path / "file"):
        operation = wait_for_end(database, operation_id)

    assert (operation.state, operation.error) == ("failed", f"{tmp_path / 'file'}: File exists")


def test_a_process_ends_with_its_parent(conninfo: str, models: Path, database: Database) -> None:
    """Even after kill -9 of the parent: the input of the process is closed."""
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
