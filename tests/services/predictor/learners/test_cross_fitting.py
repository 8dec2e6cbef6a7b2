from __future__ import annotations

import numpy as np
import pytest

from services.predictor.data.events import Floats, Ints
from services.predictor.learners.cross_fitting import cross_fitted, folds_of


def test_no_event_is_told_of_by_a_fit_that_knew_its_day() -> None:
    day = np.repeat(np.arange(100, 130), 5)
    fold = folds_of(day)
    asked: list[int] = []

    def tell(training: Ints, rows: Ints) -> Floats:
        assert not set(day[training]) & set(day[rows])
        assert len(training) + len(rows) == len(day)
        asked.extend(rows.tolist())
        return np.stack([day[rows], rows], axis=1).astype(np.float64)

    found = cross_fitted(fold, tell)

    assert sorted(asked) == list(range(len(day)))
    np.testing.assert_array_equal(found, np.stack([day, np.arange(len(day))], axis=1))


def test_days_in_a_row_share_a_fold_and_all_folds_occur() -> None:
    fold = folds_of(np.arange(24), count=4)

    assert fold.tolist() == [each for each in (0, 1, 2, 3, 0, 1, 2, 3) for _ in range(3)]


def test_one_day_cannot_be_told_of_without_learning_from_it() -> None:
    with pytest.raises(ValueError, match="two folds at least"):
        cross_fitted(folds_of(np.full(10, 5)), lambda training, rows: np.zeros((len(rows), 3)))
