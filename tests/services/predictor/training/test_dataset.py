"""The training set, and when it is refused."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from services.predictor.data.events import EventFacts
from services.predictor.data.instants import day_of
from services.predictor.data.split import Split
from services.predictor.training.dataset import MIN_EVENTS, TrainingSet, training_set_of
from shared.errors import ConfigError
from tests.services.predictor.features.irregular_source import SYNTHETIC, arrays, event, placed_entries
from tests.services.predictor.quick_trainings import CUT, FIRST, LAST, tiny_season, with_other_validation_days


def dataset_of(facts: Sequence[EventFacts], without: Sequence[str] = ()) -> TrainingSet:
    return training_set_of(arrays(facts), SYNTHETIC, Split(day_of(CUT), day_of(LAST)), without)


def test_the_encoding_does_not_depend_on_validation_days() -> None:
    dataset, other = dataset_of(tiny_season()), dataset_of(with_other_validation_days(tiny_season()))

    assert other.encoding.model_copy(update={"names": dataset.encoding.names}) == dataset.encoding
    assert set(other.encoding.names.categories) == set(dataset.encoding.names.categories)
    for name in ("venues", "codes", "categories"):
        assert getattr(other.encoding.names, name) == getattr(dataset.encoding.names, name)
    np.testing.assert_array_equal(other.rates.slots.wins, dataset.rates.slots.wins)
    rows = dataset.examples.training
    np.testing.assert_array_equal(other.examples.targets[rows].trend, dataset.examples.targets[rows].trend)
    validates = ~rows & (dataset.examples.targets.trend >= 0)
    assert (other.examples.targets.trend[validates] != dataset.examples.targets.trend[validates]).any()


def test_validation_events_are_settled_and_have_a_winner() -> None:
    dataset = dataset_of(tiny_season())

    events = dataset.events
    assert (events.status == "settled").all()
    for state, rows in dataset.rows.items():
        assert events.has_winner[rows].all()
        assert (events.day[rows] > CUT).all()
        assert np.isfinite(events.observed_us[rows]).all() == (state == "observation")
    assert len(dataset.rows["observation"]) < len(dataset.rows["card"])


def test_a_group_that_is_left_out_is_unknown_in_every_event() -> None:
    reduced, whole = (
        dataset_of(tiny_season(), ["history"]).examples.inputs["card"],
        dataset_of(tiny_season()).examples.inputs["card"],
    )

    assert whole.started.any()
    assert not reduced.started.any()
    assert reduced.entry.shape == whole.entry.shape


def refusal(facts: Sequence[EventFacts], train_to: int, validate_to: int) -> str:
    split = Split(day_of(train_to), day_of(validate_to))
    with pytest.raises(ConfigError) as raised:
        training_set_of(arrays(facts), SYNTHETIC, split)
    return str(raised.value)


def test_too_few_training_or_validation_events_are_refused() -> None:
    facts = tiny_season()
    settled = [each for each in facts if each.status == "settled"]
    no_winner = [each._replace(entries=[e._replace(place=None) for e in each.entries]) for each in settled]

    few = [each for each in settled if each.day <= FIRST + 1]
    winners = int(arrays(few).has_winner.sum())
    assert f"{MIN_EVENTS} settled events" in refusal(facts, FIRST + 1, LAST)
    assert f"found {winners} and" in refusal(facts, FIRST + 1, LAST)
    assert refusal(facts, CUT, CUT).endswith("and 0")
    assert refusal(facts, CUT, FIRST + 3).endswith("and 0")
    assert refusal([each for each in facts if each.day <= CUT] + no_winner[-60:], CUT, LAST).endswith("and 0")
    assert "found 0 and" in refusal(no_winner[:250] + facts[-60:], CUT, LAST)
    assert "found 0 and 0" in refusal([event("a", *placed_entries(1, 2), status="listed")], CUT, LAST)
