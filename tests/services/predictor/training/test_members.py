"""The members of a model: which there are, and the lines that networks start from."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np

from services.predictor.data.instants import day_of
from services.predictor.data.split import Split
from services.predictor.learners.serial import serial_executor
from services.predictor.training.dataset import TrainingSet, training_set_of
from services.predictor.training.members import fit_linear_terms, members_of
from tests.services.predictor.features.pond import POND, arrays
from tests.services.predictor.tiny import CUT, LAST, TINY, pond

PLAN = replace(TINY, networks=2, observation_trees=2, card_trees=1, top3_trees=1)


@cache
def ground() -> TrainingSet:
    return training_set_of(arrays(pond()), POND, Split(day_of(CUT), day_of(LAST)))


def card_only() -> TrainingSet:
    return replace(ground(), rows={"card": ground().rows["card"]})


def test_members_of_a_kind_differ_by_their_seed() -> None:
    assert [(each.kind, each.state, each.seed) for each in members_of(ground(), PLAN, seed=7)] == [
        ("network", None, 7),
        ("network", None, 8),
        ("trees", "observation", 7),
        ("trees", "observation", 8),
        ("trees", "card", 7),
        ("top3_trees", "card", 7),
        ("top3_trees", "observation", 7),
    ]


def test_a_state_that_training_never_saw_has_no_trees() -> None:
    assert [(each.kind, each.state) for each in members_of(card_only(), PLAN, seed=7)] == [
        ("network", None),
        ("network", None),
        ("trees", "card"),
        ("top3_trees", "card"),
    ]


def test_the_lines_of_a_state_without_events_are_those_of_the_card() -> None:
    both, card = (fit_linear_terms(each, PLAN, serial_executor) for each in (ground(), card_only()))

    np.testing.assert_array_equal(card.card, both.card)
    np.testing.assert_array_equal(card.observation, card.card)
    assert not np.array_equal(both.observation, both.card)


def test_second_and_third_places_move_the_lines() -> None:
    winners, places = (
        fit_linear_terms(card_only(), replace(PLAN, places=each), serial_executor) for each in (False, True)
    )

    assert winners.card.shape == places.card.shape
    assert not np.array_equal(winners.card, places.card)
