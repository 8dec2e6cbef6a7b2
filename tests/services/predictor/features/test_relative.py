"""Values relative to those of the other entries, compared with values computed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from services.predictor.data.events import Floats
from services.predictor.features.relative import RELATIVES, event_mean, relatives

UNKNOWN = np.nan


def relatives_of(values: list[float], lane: list[int] | None = None) -> dict[str, Floats]:
    slots = len(values)
    lanes = np.array([lane or list(range(1, slots + 1))])
    return dict(zip(RELATIVES, relatives(np.array(values).reshape(1, slots, 1), lanes)[0].T, strict=True))


def test_in_event_is_the_difference_to_the_mean_of_the_known_values() -> None:
    assert relatives_of([1.0, 3.0, UNKNOWN, 5.0])["in_event"] == pytest.approx([-2, 0, UNKNOWN, 2], nan_ok=True)


def test_the_rank_is_the_share_of_the_others_below() -> None:
    assert relatives_of([1.0, 3.0, UNKNOWN, 5.0])["rank"] == pytest.approx([-0.5, 0, UNKNOWN, 0.5], nan_ok=True)


def test_equal_values_share_a_rank() -> None:
    assert relatives_of([2.0, 2.0, 7.0])["rank"] == pytest.approx([-0.25, -0.25, 0.5])
    assert relatives_of([2.0, 2.0, 2.0])["rank"] == pytest.approx([0, 0, 0])


def test_a_single_value_has_the_middle_rank() -> None:
    assert relatives_of([UNKNOWN, 4.0])["rank"] == pytest.approx([UNKNOWN, 0.0], nan_ok=True)


def test_neighbours_are_those_one_lane_further_in_and_out() -> None:
    relative = relatives_of([1.0, 3.0, 10.0])

    assert relative["inner"] == pytest.approx([UNKNOWN, 2, 7], nan_ok=True)
    assert relative["outer"] == pytest.approx([-2, -7, UNKNOWN], nan_ok=True)


def test_neighbours_follow_the_lane_and_not_the_slot() -> None:
    relative = relatives_of([1.0, 3.0, 10.0], lane=[3, 1, 2])

    assert relative["inner"] == pytest.approx([-9, UNKNOWN, 7], nan_ok=True)


def test_an_unknown_neighbour_makes_the_difference_unknown() -> None:
    assert np.isnan(relatives_of([1.0, UNKNOWN, 10.0])["inner"]).all()


def test_the_mean_of_no_values_is_unknown() -> None:
    assert event_mean(np.array([[1.0, 2.0], [UNKNOWN, UNKNOWN]])) == pytest.approx([1.5, UNKNOWN], nan_ok=True)
