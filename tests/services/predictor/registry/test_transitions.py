"""Changes of a model's state, each in one step with the check of its files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from services.predictor.registry import model_files, state_file, transitions
from services.predictor.registry.model_files import MODEL, WEIGHTS
from services.predictor.registry.states import ChangeRequest
from shared.errors import ConfigError
from shared.ops.operations import NotPossible
from tests.services.predictor.registry.programs import started, together
from tests.services.predictor.shelf import shelf_of, shelved
from tests.services.predictor.shelf_orders import order


def test_a_saved_model_is_a_candidate_and_one_that_is_live_stays_so(tmp_path: Path) -> None:
    version = shelved(tmp_path)
    assert state_file.read(tmp_path).state_of(version) == "candidate"
    transitions.promote(tmp_path, version, order(), None)

    shelved(tmp_path)

    assert state_file.read(tmp_path).live == version


def forced(models: Path, version: str, told: ChangeRequest) -> transitions.BeforeAndAfter:
    return transitions.promote(models, version, told, None)


@pytest.mark.parametrize("step", [transitions.shadow, forced])
def test_a_model_that_is_damaged_is_not_put_to_use(tmp_path: Path, step: Any) -> None:
    version = shelved(tmp_path)
    (tmp_path / version / WEIGHTS).write_bytes(b"")

    with pytest.raises(ConfigError, match="is damaged"):
        step(tmp_path, version, order())

    assert state_file.read(tmp_path).state_of(version) == "candidate"


def test_rolling_back_brings_the_model_before_back_in_one_call(tmp_path: Path) -> None:
    first, second = shelved(tmp_path, 1), shelved(tmp_path, 2)
    transitions.promote(tmp_path, first, order(), None)
    transitions.promote(tmp_path, second, order(), None)

    transitions.roll_back(tmp_path, order())

    book = state_file.read(tmp_path)
    assert (book.live, book.state_of(second)) == (first, "retired")
    live = shelf_of(tmp_path).live()
    assert live is not None
    assert live.version == first


def test_one_does_not_roll_back_to_a_model_that_is_gone(tmp_path: Path) -> None:
    first, second = shelved(tmp_path, 1), shelved(tmp_path, 2)
    transitions.promote(tmp_path, first, order(), None)
    transitions.promote(tmp_path, second, order(), None)
    (tmp_path / first / MODEL).unlink()

    with pytest.raises(ConfigError, match="cannot read"):
        transitions.roll_back(tmp_path, order())

    assert state_file.read(tmp_path).live == second


def test_a_request_that_is_repeated_changes_nothing_twice(tmp_path: Path) -> None:
    versions = [shelved(tmp_path, seed) for seed in (1, 2, 3)]
    for version in versions:
        transitions.promote(tmp_path, version, order(), None)

    transitions.roll_back(tmp_path, order(request="once"))
    transitions.roll_back(tmp_path, order(request="once"))

    assert state_file.read(tmp_path).live == versions[1]


def test_a_deleted_model_is_gone_and_one_in_use_is_not_deleted(tmp_path: Path) -> None:
    live, other = shelved(tmp_path, 1), shelved(tmp_path, 2)
    transitions.promote(tmp_path, live, order(), None)

    transitions.delete(tmp_path, other, order())
    with pytest.raises(NotPossible, match="is in use"):
        transitions.delete(tmp_path, live, order())

    assert model_files.versions(tmp_path) == [live]


JUDGED_ONCE = """
    import sys
    from datetime import UTC, datetime
    from pathlib import Path
    from services.predictor.registry import transitions
    from services.predictor.registry.gate import Verdict
    from services.predictor.registry.states import Order
    from shared.ops.operations import NotPossible
    models, against, version = sys.argv[1:]
    verdict = Verdict(passed=True, decided=True, why="better", against=against, source="a test", figures={})
    print("ready", flush=True)
    sys.stdin.readline()
    try:
        transitions.promote(Path(models), version, Order(datetime.now(UTC), "somebody"), verdict)
    except NotPossible as error:
        print(error)
"""


def test_of_two_that_were_judged_against_the_same_live_model_one_goes_live(tmp_path: Path) -> None:
    live, *others = (shelved(tmp_path, seed) for seed in (1, 2, 3))
    transitions.promote(tmp_path, live, order(), None)
    said = together([started(JUDGED_ONCE, tmp_path, live, version) for version in others])

    assert sorted("promote it again" in each for each in said) == [False, True]
    book = state_file.read(tmp_path)
    assert book.live in others
    assert book.former == (live,)
