"""Which days train and which validate."""

from __future__ import annotations

import pytest

from services.predictor.data.instants import day_of
from services.predictor.data.split import Split, split_of
from shared.errors import ConfigError
from tests.services.predictor.features.pond import arrays
from tests.services.predictor.tiny import FIRST, LAST, pond


def test_the_newest_days_validate_whole() -> None:
    events = arrays(pond())

    assert split_of(events) == Split(day_of(LAST - 2), day_of(LAST))
    assert split_of(events, 4).train_to == day_of(LAST - 4)


def test_a_history_of_one_day_or_less_than_there_are_to_validate_on_is_refused() -> None:
    events = arrays(pond())

    with pytest.raises(ConfigError, match="at least two days, found 1"):
        split_of(events[events.day == FIRST])
    with pytest.raises(ConfigError, match="at least two days, found 0"):
        split_of(events[:0])
    with pytest.raises(ConfigError, match="11 validation days leave none of the 11"):
        split_of(events, 11)
