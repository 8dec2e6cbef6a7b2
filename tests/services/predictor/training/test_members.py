"""The members of a model, and the linear terms that networks start from."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np

from services.predictor.data.instants import day_of
from services.predictor.data.split import Split
from services.predictor.learners.serial import serial_executor
from services.predictor.training.dataset import TrainingSet, training_set_of
from services.predictor.training.members import fit_linear_terms, members_of
from tests.services.predictor.features.irregular_source import SYNTHETIC, arrays
from tests.services.predictor.quick_trainings import CUT, LAST, TINY, tiny_season

CONFIG = replace(TINY, networks=2, observation_trees=2, card_trees=1, top3_trees=1)


@cache
def dataset() -> TrainingSet:
    return training_set_of(arrays(tiny_season()), SYNTHETIC, Split(day_of(CUT), day_of(LAST)))


def card_only() -> TrainingSet:
    return replace(dataset(), rows={"card": dataset().rows["card"]})


def test_members_of_a_kind_differ_by_their_seed() -> None:
    assert [(each.kind, each.state, each.seed) for each in members_of(dataset(), CONFIG, seed=7)] == [
        ("network", None, 7),
        ("network", None, 8),
        ("trees", "observation", 7),
        ("trees", "observation", 8),
        ("trees", "card", 7),
        ("top3_trees", "card", 7),
        ("top3_trees", "observation", 7),
    ]


def test_a_state_without_training_events_has_no_trees() -> None:
    assert [(each.kind, each.state) for each in members_of(card_only(), CONFIG, seed=7)] == [
        ("network", None),
        ("network", None),
        ("trees", "card"),
        ("top3_trees", "card"),
    ]


def test_the_linear_terms_of_a_state_without_events_are_those_of_the_card() -> None:
    both, card = (fit_linear_terms(each, CONFIG, serial_executor) for each in (dataset(), card_only()))

    np.testing.assert_array_equal(card.card, both.card)
    np.testing.assert_array_equal(card.observation, card.card)
    assert not np.array_equal(both.observation, both.card)


def test_second_and_third_places_change_the_linear_terms() -> None:
    winners, places = (
        fit_linear_terms(card_only(), replace(CONFIG, places=each), serial_executor) for each in (False, True)
    )

    assert winners.card.shape == places.card.shape
    assert not np.array_equal(winners.card, places.card)
