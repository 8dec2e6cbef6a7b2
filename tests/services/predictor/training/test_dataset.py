"""What a training stands on, and what it refuses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from services.predictor.data.events import EventFacts
from services.predictor.data.instants import day_of
from services.predictor.data.split import Split
from services.predictor.training.dataset import MIN_EVENTS, TrainingSet, training_set_of
from shared.errors import ConfigError
from tests.services.predictor.features.pond import POND, arrays, event, raced
from tests.services.predictor.tiny import CUT, FIRST, LAST, changed, pond


def ground(found: Sequence[EventFacts], without: Sequence[str] = ()) -> TrainingSet:
    return training_set_of(arrays(found), POND, Split(day_of(CUT), day_of(LAST)), without)


def test_no_number_of_the_encoding_comes_from_days_that_validate() -> None:
    found, other = ground(pond()), ground(changed(pond()))

    assert other.encoding.model_copy(update={"names": found.encoding.names}) == found.encoding
    assert set(other.encoding.names.categories) == set(found.encoding.names.categories)
    for name in ("venues", "codes", "categories"):
        assert getattr(other.encoding.names, name) == getattr(found.encoding.names, name)
    np.testing.assert_array_equal(other.rates.slots.wins, found.rates.slots.wins)
    rows = found.examples.training
    np.testing.assert_array_equal(other.examples.targets[rows].trend, found.examples.targets[rows].trend)
    kept = ~rows & (found.examples.targets.trend >= 0)
    assert (other.examples.targets.trend[kept] != found.examples.targets.trend[kept]).any()


def test_only_settled_events_that_can_be_judged_validate() -> None:
    found = ground(pond())

    events = found.events
    assert (events.status == "settled").all()
    for state, rows in found.rows.items():
        assert events.has_winner[rows].all()
        assert (events.day[rows] > CUT).all()
        assert np.isfinite(events.observed_us[rows]).all() == (state == "observation")
    assert len(found.rows["observation"]) < len(found.rows["card"])


def test_a_group_that_is_left_out_is_unknown_in_every_event() -> None:
    found, whole = ground(pond(), ["history"]).examples.inputs["card"], ground(pond()).examples.inputs["card"]

    assert whole.started.any()
    assert not found.started.any()
    assert found.entry.shape == whole.entry.shape


def refused(found: Sequence[EventFacts], train_to: int, validate_to: int) -> str:
    split = Split(day_of(train_to), day_of(validate_to))
    with pytest.raises(ConfigError) as raised:
        training_set_of(arrays(found), POND, split)
    return str(raised.value)


def test_too_little_to_learn_from_or_to_validate_on_is_refused() -> None:
    found = pond()
    settled = [each for each in found if each.status == "settled"]
    no_winner = [each._replace(entries=[e._replace(place=None) for e in each.entries]) for each in settled]

    few = [each for each in settled if each.day <= FIRST + 1]
    winners = int(arrays(few).has_winner.sum())
    assert f"{MIN_EVENTS} settled events" in refused(found, FIRST + 1, LAST)
    assert f"found {winners} and" in refused(found, FIRST + 1, LAST)
    assert refused(found, CUT, CUT).endswith("and 0")
    assert refused(found, CUT, FIRST + 3).endswith("and 0")
    assert refused([each for each in found if each.day <= CUT] + no_winner[-60:], CUT, LAST).endswith("and 0")
    assert "found 0 and" in refused(no_winner[:250] + found[-60:], CUT, LAST)
    assert "found 0 and 0" in refused([event("a", *raced(1, 2), status="listed")], CUT, LAST)
