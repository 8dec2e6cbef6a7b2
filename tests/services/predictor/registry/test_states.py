"""After any sequence of changes at most one model is live, and every change is recorded."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from services.predictor.registry import states
from services.predictor.registry.states import ChangeRequest, RegistryState
from shared.ops.operations import NotPossible
from tests.services.predictor.model_requests import order

VERSIONS = st.sampled_from(["20310101-00000001", "20310102-00000002", "20310103-00000003", "20310104-00000004"])


class Models(RuleBasedStateMachine):
    """Compares the registry's state with `lives`, the stack of models that were live, the live one last."""

    def __init__(self) -> None:
        super().__init__()
        self.registry = RegistryState()
        self.lives: list[str] = []
        self.count = 0

    def _order(self) -> ChangeRequest:
        self.count += 1
        return ChangeRequest(datetime(2031, 1, 1, tzinfo=UTC), "alice", request=str(self.count))

    @rule(version=VERSIONS)
    def add(self, version: str) -> None:
        before = self.registry
        self.registry = states.add_candidate(before, version, self._order())
        assert self.registry.state_of(version) == before.state_of(version)

    @rule(version=VERSIONS)
    def shadow(self, version: str) -> None:
        if version == self.registry.live:
            with pytest.raises(NotPossible):
                states.start_shadow(self.registry, version, self._order())
            return
        self.registry = states.start_shadow(self.registry, version, self._order())
        assert version in self.registry.shadows

    @rule(version=VERSIONS)
    def promote(self, version: str) -> None:
        if self.registry.state_of(version) == "retired":
            with pytest.raises(NotPossible, match="is retired"):
                states.promote(self.registry, version, self._order(), self.registry.live)
            return
        self.registry = states.promote(self.registry, version, self._order(), self.registry.live)
        if self.lives[-1:] != [version]:
            self.lives = [each for each in self.lives if each != version] + [version]

    @rule(version=VERSIONS, against=VERSIONS)
    def promote_after_the_live_one_changed(self, version: str, against: str) -> None:
        if self.registry.live not in {against, version}:
            with pytest.raises(NotPossible, match="promote it again"):
                states.promote(self.registry, version, self._order(), against)

    @rule()
    def roll_back(self) -> None:
        if len(self.lives) < 2:
            with pytest.raises(NotPossible, match="no model to go back to"):
                states.roll_back(self.registry, self._order())
            return
        retired = self.lives.pop()
        self.registry = states.roll_back(self.registry, self._order())
        assert self.registry.state_of(retired) == "retired"

    @rule(version=VERSIONS)
    def retire(self, version: str) -> None:
        if version == self.registry.live:
            with pytest.raises(NotPossible):
                states.retire(self.registry, version, self._order())
            return
        self.registry = states.retire(self.registry, version, self._order())

    @rule(version=VERSIONS)
    def delete(self, version: str) -> None:
        if self.registry.state_of(version) in {"live", "shadow"}:
            with pytest.raises(NotPossible, match="is in use"):
                states.delete(self.registry, version, self._order())
            return
        self.registry = states.delete(self.registry, version, self._order())
        self.lives = [each for each in self.lives if each != version]
        assert version not in self.registry.states

    @invariant()
    def the_live_model_is_the_last_promoted_one(self) -> None:
        assert self.registry.live == (self.lives[-1] if self.lives else None)
        assert list(self.registry.former) == self.lives[:-1]

    @invariant()
    def the_history_leads_to_the_states(self) -> None:
        current: dict[str, str] = {}
        for change in self.registry.history:
            assert current.get(change.version) == change.before
            assert change.before != change.after
            if change.after is None:
                del current[change.version]
            else:
                current[change.version] = change.after
        assert current == self.registry.states

    @invariant()
    def it_is_unchanged_by_serialisation(self) -> None:
        assert RegistryState.model_validate_json(self.registry.model_dump_json()) == self.registry


TestAnyOrderOfChanges = Models.TestCase
TestAnyOrderOfChanges.settings = settings(max_examples=60, stateful_step_count=30, database=None)


def test_two_live_models_are_refused() -> None:
    with pytest.raises(ValueError, match="more than one model is live"):
        RegistryState(states={"20310101-00000001": "live", "20310102-00000002": "live"})


def test_the_history_keeps_the_reason_and_the_figures_of_the_gate() -> None:
    change = order(why="it is better")._replace(gate={"figures": {"difference": -0.01}})

    registry = states.promote(
        states.promote(RegistryState(), "20310101-00000001", order(), None),
        "20310102-00000002",
        change,
        "20310101-00000001",
    )

    retired, promoted = registry.history[-2:]
    assert (retired.version, retired.before, retired.after, retired.gate) == (
        "20310101-00000001",
        "live",
        "retired",
        None,
    )
    assert (promoted.why, promoted.gate) == ("it is better", {"figures": {"difference": -0.01}})


def test_the_length_of_the_history_is_bounded() -> None:
    registry = RegistryState()
    for _ in range(states.MAX_CHANGES):
        registry = states.retire(registry, "20310101-00000001", order())
        registry = states.start_shadow(registry, "20310101-00000001", order())

    assert len(registry.history) == states.MAX_CHANGES
