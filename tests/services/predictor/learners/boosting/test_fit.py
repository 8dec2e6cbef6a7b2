"""Boosted trees over an event: what they learn of a truth that was planted, and that they learn it every time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from services.predictor.data.events import Floats
from services.predictor.evaluation.measures import binary_log_loss
from services.predictor.learners.boosting.fit import Boosting, BoostingOptions, boosting_of, fit_binary, fit_boosting
from services.predictor.learners.softmax import winner_loss
from tests.services.predictor.learners.planted import Planted, planted

OPTIONS = BoostingOptions(min_rows_in_leaf=50, feature_fraction=0.6, rate=0.1, max_trees=150)


def fitted(data: Planted, options: BoostingOptions = OPTIONS, places: Floats | None = None) -> Boosting:
    return fit_boosting(data.choices, 1, options, places)


@pytest.fixture(scope="module")
def data() -> Planted:
    return planted(events=3000)


@pytest.fixture(scope="module")
def boosting(data: Planted) -> Boosting:
    return fitted(data)


def loss(boosting: Boosting, data: Planted) -> float:
    judged = data.validation
    scores = boosting.scores(data.entry[judged], data.taken[judged])
    return float(winner_loss(scores, data.taken[judged], data.winner[judged]).mean())


def test_boosting_finds_most_of_what_was_planted(data: Planted, boosting: Boosting) -> None:
    judged = data.validation
    best = -np.log(data.truth[judged, data.winner[judged]]).mean()
    nothing = np.log(data.taken[judged].sum(axis=1)).mean()

    assert loss(boosting, data) < best + 0.15 * (nothing - best)
    assert boosting.gain[:3].min() > boosting.gain[3:].max()


def test_the_kept_trees_are_those_best_on_validation(data: Planted, boosting: Boosting) -> None:
    assert len(boosting.trees) == int(np.argmin(boosting.curve)) + 1
    assert loss(boosting, data) == pytest.approx(min(boosting.curve), abs=1e-12)


def test_the_same_seed_gives_the_same_trees_and_another_seed_others(data: Planted, boosting: Boosting) -> None:
    quick = replace(OPTIONS, max_trees=5)
    first, again = fitted(data, quick), fitted(data, quick)
    other = fit_boosting(data.choices, 2, quick)

    assert all(np.array_equal(first.arrays()[name], array) for name, array in again.arrays().items())
    assert not np.array_equal(first.trees.feature, other.trees.feature)


def test_probabilities_are_over_taken_slots_and_do_not_depend_on_company(data: Planted, boosting: Boosting) -> None:
    told = boosting.probabilities(data.entry[:300], data.taken[:300])
    back = boosting_of(boosting.arrays())

    assert told.sum(axis=1) == pytest.approx(1, abs=1e-12)
    assert not told[~data.taken[:300]].any()
    assert all(
        np.array_equal(back.probabilities(data.entry[k : k + 1], data.taken[k : k + 1])[0], told[k]) for k in range(300)
    )


def test_later_places_teach_too(data: Planted, boosting: Boosting) -> None:
    few = replace(data, training=data.training[:600])

    assert loss(fitted(few, places=data.places), few) < loss(fitted(few), few)


def test_events_without_a_winner_are_left_out(data: Planted) -> None:
    quick = replace(OPTIONS, max_trees=5)
    without = np.where(np.arange(len(data.winner)) % 3 == 0, -1, data.winner)
    training, validation = (rows[without[rows] >= 0] for rows in (data.training, data.validation))
    found = fitted(replace(data, winner=without), quick)

    assert np.array_equal(
        found.trees.value, fitted(replace(data, training=training, validation=validation), quick).trees.value
    )


def test_chances_of_an_entry_are_those_of_its_features(data: Planted) -> None:
    came = data.truth > 0.4

    found = fit_binary(data.choices, came, 1, OPTIONS)

    judged = data.validation
    odds = found.scores(data.entry[judged], data.taken[judged])[data.taken[judged]]
    told = 1 / (1 + np.exp(-odds))
    assert binary_log_loss(told, came[judged][data.taken[judged]]).mean() == pytest.approx(min(found.curve), abs=1e-6)
    assert np.corrcoef(told, data.truth[judged][data.taken[judged]])[0, 1] > 0.8
