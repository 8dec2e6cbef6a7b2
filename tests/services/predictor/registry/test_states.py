"""Any order of changes leaves at most one model live, and every change on record."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from services.predictor.registry import states
from services.predictor.registry.states import ChangeRequest, RegistryState
from shared.ops.operations import NotPossible
from tests.services.predictor.shelf_orders import order

VERSIONS = st.sampled_from(["20310101-00000001", "20310102-00000002", "20310103-00000003", "20310104-00000004"])


class Models(RuleBasedStateMachine):
    """Plays beside the book: `lives` is the stack of models that were live, the live one last."""

    def __init__(self) -> None:
        super().__init__()
        self.book = RegistryState()
        self.lives: list[str] = []
        self.count = 0

    def _order(self) -> ChangeRequest:
        self.count += 1
        return ChangeRequest(datetime(2031, 1, 1, tzinfo=UTC), "somebody", request=str(self.count))

    @rule(version=VERSIONS)
    def make(self, version: str) -> None:
        before = self.book
        self.book = states.add_candidate(before, version, self._order())
        assert self.book.state_of(version) == before.state_of(version)

    @rule(version=VERSIONS)
    def shadow(self, version: str) -> None:
        if version == self.book.live:
            with pytest.raises(NotPossible):
                states.start_shadow(self.book, version, self._order())
            return
        self.book = states.start_shadow(self.book, version, self._order())
        assert version in self.book.shadows

    @rule(version=VERSIONS)
    def promote(self, version: str) -> None:
        if self.book.state_of(version) == "retired":
            with pytest.raises(NotPossible, match="is retired"):
                states.promote(self.book, version, self._order(), self.book.live)
            return
        self.book = states.promote(self.book, version, self._order(), self.book.live)
        if self.lives[-1:] != [version]:
            self.lives = [each for each in self.lives if each != version] + [version]

    @rule(version=VERSIONS, against=VERSIONS)
    def promote_after_the_live_one_changed(self, version: str, against: str) -> None:
        if self.book.live not in {against, version}:
            with pytest.raises(NotPossible, match="promote it again"):
                states.promote(self.book, version, self._order(), against)

    @rule()
    def roll_back(self) -> None:
        if len(self.lives) < 2:
            with pytest.raises(NotPossible, match="no model to go back to"):
                states.roll_back(self.book, self._order())
            return
        left = self.lives.pop()
        self.book = states.roll_back(self.book, self._order())
        assert self.book.state_of(left) == "retired"

    @rule(version=VERSIONS)
    def retire(self, version: str) -> None:
        if version == self.book.live:
            with pytest.raises(NotPossible):
                states.retire(self.book, version, self._order())
            return
        self.book = states.retire(self.book, version, self._order())

    @rule(version=VERSIONS)
    def delete(self, version: str) -> None:
        if self.book.state_of(version) in {"live", "shadow"}:
            with pytest.raises(NotPossible, match="is in use"):
                states.delete(self.book, version, self._order())
            return
        self.book = states.delete(self.book, version, self._order())
        self.lives = [each for each in self.lives if each != version]
        assert version not in self.book.states

    @invariant()
    def the_live_model_is_the_last_that_was_made_so(self) -> None:
        assert self.book.live == (self.lives[-1] if self.lives else None)
        assert list(self.book.former) == self.lives[:-1]

    @invariant()
    def the_history_leads_to_the_states(self) -> None:
        found: dict[str, str] = {}
        for change in self.book.history:
            assert found.get(change.version) == change.before
            assert change.before != change.after
            if change.after is None:
                del found[change.version]
            else:
                found[change.version] = change.after
        assert found == self.book.states

    @invariant()
    def it_is_read_back_as_it_was_written(self) -> None:
        assert RegistryState.model_validate_json(self.book.model_dump_json()) == self.book


TestAnyOrderOfChanges = Models.TestCase
TestAnyOrderOfChanges.settings = settings(max_examples=60, stateful_step_count=30, database=None)


def test_two_live_models_are_no_book() -> None:
    with pytest.raises(ValueError, match="more than one model is live"):
        RegistryState(states={"20310101-00000001": "live", "20310102-00000002": "live"})


def test_the_history_keeps_why_and_the_figures_of_the_gate() -> None:
    told = order(why="it is better")._replace(gate={"figures": {"difference": -0.01}})

    book = states.promote(
        states.promote(RegistryState(), "20310101-00000001", order(), None),
        "20310102-00000002",
        told,
        "20310101-00000001",
    )

    left, came = book.history[-2:]
    assert (left.version, left.before, left.after, left.gate) == ("20310101-00000001", "live", "retired", None)
    assert (came.why, came.gate) == ("it is better", {"figures": {"difference": -0.01}})


def test_a_history_of_years_does_not_grow_for_ever() -> None:
    book = RegistryState()
    for _ in range(states.MAX_CHANGES):
        book = states.retire(book, "20310101-00000001", order())
        book = states.start_shadow(book, "20310101-00000001", order())

    assert len(book.history) == states.MAX_CHANGES
