"""A trained model: the same in every batch, each state predicted by its own members."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from services.predictor.data.events import STATES
from tests.services.predictor.model.full_model import Sample, assert_same, mixed_inputs, sample_of

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def sample() -> Sample:
    return sample_of()


def test_the_probabilities_of_an_event_do_not_depend_on_its_batch(sample: Sample) -> None:
    """Covers networks, trees, pooling and the input of the policy."""
    inputs = mixed_inputs(sample)
    whole, attention = sample.model.probabilities(inputs), sample.model.explain(inputs)

    for size in (1, 2, 7, 256, 300):
        for start in range(0, min(300, 12 * size), size):
            rows = slice(start, start + size)
            probabilities = sample.model.probabilities(inputs[rows])
            assert_same(probabilities, whole, rows)
            np.testing.assert_array_equal(sample.model.explain(inputs[rows]), attention[rows])


def test_every_head_gives_probabilities(sample: Sample) -> None:
    inputs = mixed_inputs(sample)

    probabilities = sample.model.probabilities(inputs)

    assert not inputs.occupied.all()
    np.testing.assert_allclose(probabilities.win.sum(axis=1), 1)
    np.testing.assert_allclose(probabilities.trend.sum(axis=1), 1)
    np.testing.assert_allclose(probabilities.behaviour.sum(axis=2), 1)
    assert (probabilities.win[~inputs.occupied] == 0).all()
    assert ((probabilities.top3 > 0) & (probabilities.top3 < 1))[inputs.occupied].all()


def test_each_state_uses_its_own_trees_and_pooling(sample: Sample) -> None:
    model, inputs = sample.model, sample.inputs
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


def test_no_events_give_empty_probabilities(sample: Sample) -> None:
    probabilities = sample.model.probabilities(sample.inputs["card"][:0])

    assert probabilities.win.shape == (0, 6)
    assert probabilities.behaviour.shape == (0, 6, 3)


def test_explanations_sum_to_one_where_there_are_past_starts(sample: Sample) -> None:
    inputs = sample.inputs["observation"]

    attention = sample.model.explain(inputs)

    some = inputs.started.any(axis=2)
    np.testing.assert_allclose(attention[some].sum(axis=1), 1, atol=1e-6)
    assert (attention[~some] == 0).all()
