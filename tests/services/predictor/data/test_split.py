"""The split into training and validation days."""

from __future__ import annotations

import pytest

from services.predictor.data.instants import day_of
from services.predictor.data.split import Split, split_of
from shared.errors import ConfigError
from tests.services.predictor.features.irregular_source import arrays
from tests.services.predictor.quick_trainings import FIRST, LAST, tiny_season


def test_the_newest_days_are_the_validation_days() -> None:
    events = arrays(tiny_season())

    assert split_of(events) == Split(day_of(LAST - 2), day_of(LAST))
    assert split_of(events, 4).train_to == day_of(LAST - 4)


def test_a_history_that_is_too_short_to_split_is_refused() -> None:
    events = arrays(tiny_season())

    with pytest.raises(ConfigError, match="at least two days, found 1"):
        split_of(events[events.day == FIRST])
    with pytest.raises(ConfigError, match="at least two days, found 0"):
        split_of(events[:0])
    with pytest.raises(ConfigError, match="11 validation days leave none of the 11"):
        split_of(events, 11)
