"""A trained model: the same in every batch, each state told by its own members."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from services.predictor.data.events import STATES
from tests.services.predictor.model.school import School, assert_same, mix, school_of

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def school() -> School:
    return school_of()


def test_what_is_told_of_one_event_does_not_depend_on_its_batch(school: School) -> None:
    """Networks, trees, pooling and what the policy is shown."""
    inputs = mix(school)
    whole, seen = school.model.probabilities(inputs), school.model.explain(inputs)

    for size in (1, 2, 7, 256, 300):
        for start in range(0, min(300, 12 * size), size):
            rows = slice(start, start + size)
            told = school.model.probabilities(inputs[rows])
            assert_same(told, whole, rows)
            np.testing.assert_array_equal(school.model.explain(inputs[rows]), seen[rows])


def test_every_head_says_probabilities(school: School) -> None:
    inputs = mix(school)

    told = school.model.probabilities(inputs)

    assert not inputs.occupied.all()
    np.testing.assert_allclose(told.win.sum(axis=1), 1)
    np.testing.assert_allclose(told.trend.sum(axis=1), 1)
    np.testing.assert_allclose(told.behaviour.sum(axis=2), 1)
    assert (told.win[~inputs.occupied] == 0).all()
    assert ((told.top3 > 0) & (told.top3 < 1))[inputs.occupied].all()


def test_each_state_is_told_by_its_own_trees_and_pooling(school: School) -> None:
    model, inputs = school.model, school.inputs
    description = model.description
    flat = {
        state: {**description.pooling, state: description.pooling[state].model_copy(update={"networks": 0, "trees": 0})}
        for state in STATES
    }
    for state in STATES:
        of_state = inputs[state][inputs["observation"].event[:, -1] > 0.5]
        before = model.probabilities(of_state).win
        for other in STATES:
            changed = replace(model, description=description.model_copy(update={"pooling": flat[other]}))
            assert np.array_equal(changed.probabilities(of_state).win, before) == (other != state)


def test_nothing_is_told_of_no_events(school: School) -> None:
    told = school.model.probabilities(school.inputs["card"][:0])

    assert told.win.shape == (0, 6)
    assert told.behaviour.shape == (0, 6, 3)


def test_explanations_sum_to_one_where_there_is_a_past(school: School) -> None:
    inputs = school.inputs["observation"]

    found = school.model.explain(inputs)

    some = inputs.started.any(axis=2)
    np.testing.assert_allclose(found[some].sum(axis=1), 1, atol=1e-6)
    assert (found[~some] == 0).all()
