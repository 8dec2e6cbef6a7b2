from __future__ import annotations

import numpy as np
import pytest

from services.predictor.data.events import Floats, Ints
from services.predictor.learners.boosting.fit import BoostingOptions
from services.predictor.learners.choice_data import ChoiceData
from services.predictor.learners.cross_fitting import FOLDS, SPAN_DAYS, folds_of, out_of_fold_probabilities
from services.predictor.learners.serial import serial_executor
from shared.errors import ConfigError
from tests.services.predictor.learners.synthetic_events import synthetic_events

OPTIONS = BoostingOptions(min_rows_in_leaf=20, max_trees=5, patience_trees=5)
DAYS = 24


def probabilities(data: ChoiceData, day: Ints) -> Floats:
    return out_of_fold_probabilities(data, day, 1, OPTIONS, serial_executor)


def test_no_event_is_predicted_by_a_fit_on_its_own_day() -> None:
    """Other winners in one fold change the probabilities of all other folds, but not its own."""
    data = synthetic_events(events=900).choices
    day = np.arange(900) % DAYS
    fold = folds_of(day)[data.training]
    fold_rows = data.training[fold == 2]
    winner = data.winner.copy()
    winner[fold_rows] = 0

    before, after = probabilities(data, day), probabilities(data._replace(winner=winner), day)

    assert before.shape == (len(data.training), 4)
    np.testing.assert_allclose(before.sum(axis=1), 1)
    np.testing.assert_array_equal(before[fold == 2], after[fold == 2])
    assert all(np.abs(before[fold == each] - after[fold == each]).max() > 0.01 for each in (0, 1, 3))


def test_days_in_a_row_share_a_fold_and_all_folds_occur() -> None:
    fold = folds_of(np.arange(DAYS))

    assert fold.tolist() == [each % FOLDS for each in range(DAYS // SPAN_DAYS) for _ in range(SPAN_DAYS)]


def test_a_single_training_day_is_refused() -> None:
    with pytest.raises(ConfigError, match="training days in two folds"):
        probabilities(synthetic_events(events=60).choices, np.full(60, 5))
