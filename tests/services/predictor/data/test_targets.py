"""What training learns to foretell."""

from __future__ import annotations

import numpy as np
import pytest

from services.predictor.data.targets import Terciles, targets_of, terciles_of
from tests.services.predictor.features.pond import arrays, event, raced


def test_terciles_part_what_is_known_into_three() -> None:
    events = arrays([event(str(at), *raced(1, 2, timing_s=at / 100), amount=at) for at in range(10)] + [event("x")])

    found = terciles_of(events)

    assert found.amount == pytest.approx((3, 6))
    assert found.timing_s == pytest.approx((0.03, 0.06))
    classes = targets_of(events, found)
    assert classes.trend.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 2, -1]
    assert classes.behaviour[:, 0].tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 2, -1]


def test_who_has_no_place_has_none_and_an_empty_slot_neither() -> None:
    events = arrays([event("a", *raced(2, None, 1), amount=5.0)])

    found = targets_of(events, Terciles(amount=(1.0, 2.0), timing_s=(0.1, 0.2)))

    assert found.places.tolist() == [[2, 0, 1, 0, 0, 0]]
    assert found.winner.tolist() == [2]
    assert found.trend.tolist() == [2]
    assert (found.behaviour == -1).all()


def test_a_dead_heat_and_an_event_without_places_have_no_winner() -> None:
    events = arrays([event("a", *raced(1, 1, 3)), event("b", *raced(None, None)), event("c", *raced(2, 1))])

    assert targets_of(events, terciles_of(events)).winner.tolist() == [-1, -1, 1]


def test_a_source_that_tells_neither_amounts_nor_timings_has_no_classes() -> None:
    events = arrays([event("a", *raced(1, 2))])

    found = targets_of(events, terciles_of(events))

    assert terciles_of(events) == Terciles(amount=(0.0, 0.0), timing_s=(0.0, 0.0))
    assert found.trend.tolist() == [-1]
    assert (found.behaviour == -1).all()


def test_rows_can_be_chosen() -> None:
    events = arrays([event("a", *raced(1, 2)), event("b", *raced(2, 1))])

    found = targets_of(events, terciles_of(events))[np.array([1])]

    assert (len(found), found.winner.tolist()) == (1, [1])
