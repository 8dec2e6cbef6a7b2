"""States that several processes change at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.predictor.registry import state_file, transitions
from services.predictor.registry.state_file import STATES
from shared.errors import ConfigError
from tests.services.predictor.registry.programs import started, together
from tests.services.predictor.shelf import shelved
from tests.services.predictor.shelf_orders import order


def test_every_change_can_be_seen_by_its_time_alone(tmp_path: Path) -> None:
    version = shelved(tmp_path)
    seen = [state_file.changed_ns(tmp_path)]
    for step in [transitions.shadow, transitions.retire] * 10:
        step(tmp_path, version, order())
        seen.append(state_file.changed_ns(tmp_path))

    assert len(set(seen)) == len(seen)
    assert seen == sorted(seen, key=lambda each: each or 0)


@pytest.mark.parametrize("body", ["{", "[]", '{"format": "headrace-states/9"}', '{"states": {"x": "alive"}}'])
def test_damaged_states_are_refused_with_what_to_do(tmp_path: Path, body: str) -> None:
    shelved(tmp_path)
    (tmp_path / STATES).write_text(body)

    with pytest.raises(ConfigError, match=r"is damaged, or of another version.*promote a model"):
        state_file.has_live(tmp_path)


def test_a_pointer_of_an_older_version_is_not_followed(tmp_path: Path) -> None:
    version = shelved(tmp_path)
    (tmp_path / "LIVE").write_text(f"{version}\n")

    assert not state_file.has_live(tmp_path)


PROMOTING = """
    import sys
    from datetime import UTC, datetime
    from pathlib import Path
    from services.predictor.registry import transitions
    from services.predictor.registry.states import Order
    from shared.ops.operations import NotPossible
    assert "torch" not in sys.modules
    models, version = Path(sys.argv[1]), sys.argv[2]
    print("ready", flush=True)
    sys.stdin.readline()
    for _ in range(40):
        order = Order(datetime.now(UTC), version)
        try:
            transitions.shadow(models, version, order)
            transitions.promote(models, version, order, None)
        except NotPossible:  # it is live, or was retired between the two
            continue
"""


def test_processes_that_promote_at_once_lose_no_change_and_leave_one_live(tmp_path: Path) -> None:
    versions = [shelved(tmp_path, seed) for seed in (1, 2)]

    together([started(PROMOTING, tmp_path, version) for version in versions])

    book = state_file.read(tmp_path)
    assert book.live in versions
    lives = [change for change in book.history if change.after == "live"]
    assert {change.who for change in lives} == set(versions)
    found: dict[str, str | None] = {}
    for change in book.history:  # each step began where the one before had ended, whoever made it
        assert found.get(change.version) == change.before
        found[change.version] = change.after
