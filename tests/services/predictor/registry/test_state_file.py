"""The file of states, changed by several processes at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.predictor.registry import state_file, transitions
from services.predictor.registry.state_file import STATES
from shared.errors import ConfigError
from tests.services.predictor.model_requests import order
from tests.services.predictor.registry.programs import run_together, start_program
from tests.services.predictor.small_models import save_model


def test_every_change_has_a_later_modification_time(tmp_path: Path) -> None:
    version = save_model(tmp_path)
    modified_ns = [state_file.changed_ns(tmp_path)]
    for step in [transitions.shadow, transitions.retire] * 10:
        step(tmp_path, version, order())
        modified_ns.append(state_file.changed_ns(tmp_path))

    assert len(set(modified_ns)) == len(modified_ns)
    assert modified_ns == sorted(modified_ns, key=lambda each: each or 0)


@pytest.mark.parametrize("body", ["{", "[]", '{"format": "headrace-states/9"}', '{"states": {"x": "alive"}}'])
def test_a_damaged_file_is_refused_with_what_to_do(tmp_path: Path, body: str) -> None:
    save_model(tmp_path)
    (tmp_path / STATES).write_text(body)

    with pytest.raises(ConfigError, match=r"is damaged, or of another version.*promote a model"):
        state_file.has_live(tmp_path)


def test_a_pointer_of_an_older_version_is_ignored(tmp_path: Path) -> None:
    version = save_model(tmp_path)
    (tmp_path / "LIVE").write_text(f"{version}\n")

    assert not state_file.has_live(tmp_path)


PROMOTING = """
    import sys
    from datetime import UTC, datetime
    from pathlib import Path
    from services.predictor.registry import transitions
    from services.predictor.registry.states import ChangeRequest
    from shared.ops.operations import NotPossible
    assert "torch" not in sys.modules
    models, version = Path(sys.argv[1]), sys.argv[2]
    print("ready", flush=True)
    sys.stdin.readline()
    for _ in range(40):
        order = ChangeRequest(datetime.now(UTC), version)
        try:
            transitions.shadow(models, version, order)
            transitions.promote(models, version, order, None)
        except NotPossible:  # it is live, or was retired between the two
            continue
"""


def test_concurrent_promotions_lose_no_change_and_leave_one_model_live(tmp_path: Path) -> None:
    versions = [save_model(tmp_path, seed) for seed in (1, 2)]

    run_together([start_program(PROMOTING, tmp_path, version) for version in versions])

    registry = state_file.read(tmp_path)
    assert registry.live in versions
    promotions = [change for change in registry.history if change.after == "live"]
    assert {change.who for change in promotions} == set(versions)
    states: dict[str, str | None] = {}
    for change in registry.history:  # each change starts from the state that the previous one left, in any process
        assert states.get(change.version) == change.before
        states[change.version] = change.after
