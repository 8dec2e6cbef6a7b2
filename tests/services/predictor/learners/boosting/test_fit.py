"""Boosted trees over an event: how much of a known truth they learn, and that training is reproducible."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from services.predictor.data.events import Floats
from services.predictor.evaluation.measures import binary_log_loss
from services.predictor.learners.boosting.fit import Boosting, BoostingOptions, boosting_of, fit_binary, fit_boosting
from services.predictor.learners.softmax import winner_loss
from tests.services.predictor.learners.synthetic_events import SyntheticEvents, synthetic_events

OPTIONS = BoostingOptions(min_rows_in_leaf=50, feature_fraction=0.6, rate=0.1, max_trees=150)


def fit(data: SyntheticEvents, options: BoostingOptions = OPTIONS, places: Floats | None = None) -> Boosting:
    return fit_boosting(data.choices, 1, options, places)


@pytest.fixture(scope="module")
def data() -> SyntheticEvents:
    return synthetic_events(events=3000)


@pytest.fixture(scope="module")
def boosting(data: SyntheticEvents) -> Boosting:
    return fit(data)


def loss(boosting: Boosting, data: SyntheticEvents) -> float:
    rows = data.validation
    scores = boosting.scores(data.entry[rows], data.occupied[rows])
    return float(winner_loss(scores, data.occupied[rows], data.winner[rows]).mean())


def test_boosting_learns_most_of_the_known_truth(data: SyntheticEvents, boosting: Boosting) -> None:
    rows = data.validation
    best = -np.log(data.truth[rows, data.winner[rows]]).mean()
    nothing = np.log(data.occupied[rows].sum(axis=1)).mean()

    assert loss(boosting, data) < best + 0.15 * (nothing - best)
    assert boosting.gain[:3].min() > boosting.gain[3:].max()


def test_the_kept_trees_are_those_best_on_validation(data: SyntheticEvents, boosting: Boosting) -> None:
    assert len(boosting.trees) == int(np.argmin(boosting.curve)) + 1
    assert loss(boosting, data) == pytest.approx(min(boosting.curve), abs=1e-12)


def test_the_same_seed_gives_the_same_trees_and_another_seed_others(data: SyntheticEvents, boosting: Boosting) -> None:
    quick = replace(OPTIONS, max_trees=5)
    first, again = fit(data, quick), fit(data, quick)
    other = fit_boosting(data.choices, 2, quick)

    assert all(np.array_equal(first.arrays()[name], array) for name, array in again.arrays().items())
    assert not np.array_equal(first.trees.feature, other.trees.feature)


def test_probabilities_cover_occupied_slots_and_do_not_depend_on_the_batch(
    data: SyntheticEvents, boosting: Boosting
) -> None:
    probabilities = boosting.probabilities(data.entry[:300], data.occupied[:300])
    restored = boosting_of(boosting.arrays())

    assert probabilities.sum(axis=1) == pytest.approx(1, abs=1e-12)
    assert not probabilities[~data.occupied[:300]].any()
    assert all(
        np.array_equal(restored.probabilities(data.entry[k : k + 1], data.occupied[k : k + 1])[0], probabilities[k])
        for k in range(300)
    )


def test_later_places_improve_the_fit(data: SyntheticEvents, boosting: Boosting) -> None:
    few = replace(data, training=data.training[:600])

    assert loss(fit(few, places=data.places), few) < loss(fit(few), few)


def test_events_without_a_winner_are_left_out(data: SyntheticEvents) -> None:
    quick = replace(OPTIONS, max_trees=5)
    without = np.where(np.arange(len(data.winner)) % 3 == 0, -1, data.winner)
    training, validation = (rows[without[rows] >= 0] for rows in (data.training, data.validation))
    boosting = fit(replace(data, winner=without), quick)

    assert np.array_equal(
        boosting.trees.value, fit(replace(data, training=training, validation=validation), quick).trees.value
    )


def test_binary_boosting_learns_the_probabilities_of_entries(data: SyntheticEvents) -> None:
    happened = data.truth > 0.4

    binary = fit_binary(data.choices, happened, 1, OPTIONS)

    rows = data.validation
    odds = binary.scores(data.entry[rows], data.occupied[rows])[data.occupied[rows]]
    probabilities = 1 / (1 + np.exp(-odds))
    assert binary_log_loss(probabilities, happened[rows][data.occupied[rows]]).mean() == pytest.approx(
        min(binary.curve), abs=1e-6
    )
    assert np.corrcoef(probabilities, data.truth[rows][data.occupied[rows]])[0, 1] > 0.8
