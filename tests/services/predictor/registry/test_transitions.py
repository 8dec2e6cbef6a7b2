"""Changes of a model's state, each atomic with the check of its files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from services.predictor.registry import model_files, state_file, transitions
from services.predictor.registry.model_files import MODEL, WEIGHTS
from services.predictor.registry.states import ChangeRequest
from shared.errors import ConfigError
from shared.ops.operations import NotPossible
from tests.services.predictor.model_requests import order
from tests.services.predictor.registry.programs import run_together, start_program
from tests.services.predictor.small_models import registry_at, save_model


def test_a_saved_model_is_a_candidate_and_a_live_one_stays_live(tmp_path: Path) -> None:
    version = save_model(tmp_path)
    assert state_file.read(tmp_path).state_of(version) == "candidate"
    transitions.promote(tmp_path, version, order(), None)

    save_model(tmp_path)

    assert state_file.read(tmp_path).live == version


def force_promotion(models: Path, version: str, request: ChangeRequest) -> transitions.BeforeAndAfter:
    return transitions.promote(models, version, request, None)


@pytest.mark.parametrize("step", [transitions.shadow, force_promotion])
def test_a_damaged_model_is_not_activated(tmp_path: Path, step: Any) -> None:
    version = save_model(tmp_path)
    (tmp_path / version / WEIGHTS).write_bytes(b"")

    with pytest.raises(ConfigError, match="is damaged"):
        step(tmp_path, version, order())

    assert state_file.read(tmp_path).state_of(version) == "candidate"


def test_a_rollback_restores_the_previous_model(tmp_path: Path) -> None:
    first, second = save_model(tmp_path, 1), save_model(tmp_path, 2)
    transitions.promote(tmp_path, first, order(), None)
    transitions.promote(tmp_path, second, order(), None)

    transitions.roll_back(tmp_path, order())

    registry = state_file.read(tmp_path)
    assert (registry.live, registry.state_of(second)) == (first, "retired")
    live = registry_at(tmp_path).live()
    assert live is not None
    assert live.version == first


def test_a_rollback_to_a_missing_model_is_refused(tmp_path: Path) -> None:
    first, second = save_model(tmp_path, 1), save_model(tmp_path, 2)
    transitions.promote(tmp_path, first, order(), None)
    transitions.promote(tmp_path, second, order(), None)
    (tmp_path / first / MODEL).unlink()

    with pytest.raises(ConfigError, match="cannot read"):
        transitions.roll_back(tmp_path, order())

    assert state_file.read(tmp_path).live == second


def test_a_repeated_request_is_executed_once(tmp_path: Path) -> None:
    versions = [save_model(tmp_path, seed) for seed in (1, 2, 3)]
    for version in versions:
        transitions.promote(tmp_path, version, order(), None)

    transitions.roll_back(tmp_path, order(request="once"))
    transitions.roll_back(tmp_path, order(request="once"))

    assert state_file.read(tmp_path).live == versions[1]


def test_a_model_is_deleted_unless_it_is_in_use(tmp_path: Path) -> None:
    live, other = save_model(tmp_path, 1), save_model(tmp_path, 2)
    transitions.promote(tmp_path, live, order(), None)

    transitions.delete(tmp_path, other, order())
    with pytest.raises(NotPossible, match="is in use"):
        transitions.delete(tmp_path, live, order())

    assert model_files.versions(tmp_path) == [live]


PROMOTING_ONCE = """
    import sys
    from datetime import UTC, datetime
    from pathlib import Path
    from services.predictor.registry import transitions
    from services.predictor.registry.gate import Verdict
    from services.predictor.registry.states import ChangeRequest
    from shared.ops.operations import NotPossible
    models, against, version = sys.argv[1:]
    verdict = Verdict(passed=True, decided=True, why="better", against=against, source="a test", figures={})
    print("ready", flush=True)
    sys.stdin.readline()
    try:
        transitions.promote(Path(models), version, ChangeRequest(datetime.now(UTC), "alice"), verdict)
    except NotPossible as error:
        print(error)
"""


def test_of_two_candidates_compared_with_the_same_live_model_one_goes_live(tmp_path: Path) -> None:
    live, *others = (save_model(tmp_path, seed) for seed in (1, 2, 3))
    transitions.promote(tmp_path, live, order(), None)
    outputs = run_together([start_program(PROMOTING_ONCE, tmp_path, live, version) for version in others])

    assert sorted("promote it again" in each for each in outputs) == [False, True]
    registry = state_file.read(tmp_path)
    assert registry.live in others
    assert registry.former == (live,)
