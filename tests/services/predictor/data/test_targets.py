"""The targets of training."""

from __future__ import annotations

import numpy as np
import pytest

from services.predictor.data.targets import Terciles, targets_of, terciles_of
from tests.services.predictor.features.irregular_source import arrays, event, placed_entries


def test_terciles_split_the_known_values_into_three() -> None:
    events = arrays(
        [event(str(at), *placed_entries(1, 2, timing_s=at / 100), amount=at) for at in range(10)] + [event("x")]
    )

    terciles = terciles_of(events)

    assert terciles.amount == pytest.approx((3, 6))
    assert terciles.timing_s == pytest.approx((0.03, 0.06))
    classes = targets_of(events, terciles)
    assert classes.trend.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 2, -1]
    assert classes.behaviour[:, 0].tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 2, -1]


def test_an_entry_without_a_place_and_an_empty_slot_have_place_zero() -> None:
    events = arrays([event("a", *placed_entries(2, None, 1), amount=5.0)])

    targets = targets_of(events, Terciles(amount=(1.0, 2.0), timing_s=(0.1, 0.2)))

    assert targets.places.tolist() == [[2, 0, 1, 0, 0, 0]]
    assert targets.winner.tolist() == [2]
    assert targets.trend.tolist() == [2]
    assert (targets.behaviour == -1).all()


def test_a_dead_heat_and_an_event_without_places_have_no_winner() -> None:
    events = arrays(
        [
            event("a", *placed_entries(1, 1, 3)),
            event("b", *placed_entries(None, None)),
            event("c", *placed_entries(2, 1)),
        ]
    )

    assert targets_of(events, terciles_of(events)).winner.tolist() == [-1, -1, 1]


def test_a_source_without_amounts_and_timings_has_no_classes() -> None:
    events = arrays([event("a", *placed_entries(1, 2))])

    targets = targets_of(events, terciles_of(events))

    assert terciles_of(events) == Terciles(amount=(0.0, 0.0), timing_s=(0.0, 0.0))
    assert targets.trend.tolist() == [-1]
    assert (targets.behaviour == -1).all()


def test_rows_can_be_selected() -> None:
    events = arrays([event("a", *placed_entries(1, 2)), event("b", *placed_entries(2, 1))])

    targets = targets_of(events, terciles_of(events))[np.array([1])]

    assert (len(targets), targets.winner.tolist()) == (1, [1])
