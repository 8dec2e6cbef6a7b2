from __future__ import annotations

import numpy as np

from services.predictor.policy.context import absolute_columns, policy_context_of
from tests.services.predictor.policy.world import world


def test_the_context_of_an_event_does_not_depend_on_other_events() -> None:
    data = world(20, seed=1)
    whole = data.context
    row = np.array([17])

    alone = policy_context_of(
        type(data.probabilities)(*(part[row] for part in data.probabilities)),
        data.events.occupied[row],
        data.marks[row],
    )

    np.testing.assert_array_equal(alone.slot, whole[row].slot)
    np.testing.assert_array_equal(alone.event, whole[row].event)
    np.testing.assert_array_equal(alone.win, whole[row].win)


def test_probabilities_of_zero_and_one_give_finite_features() -> None:
    data = world(1, seed=1)
    data.probabilities.win[0] = (1.0, 0.0, 0.0)

    context = data.context

    assert np.isfinite(context.slot).all()
    assert np.isfinite(context.event).all()


def test_an_empty_slot_has_no_features_and_probability_zero() -> None:
    data = world(2, seed=1)
    occupied = data.events.occupied.copy()
    occupied[3, 0] = False

    context = policy_context_of(data.probabilities, occupied, data.marks)

    assert not context.slot[3, 0].any()
    assert context.win[3, 0] == 0.0


def test_features_that_repeat_others_within_the_event_are_left_out() -> None:
    names = ("points", "points_in_event", "points_rank", "points_inner", "points_outer", "points_unknown", "slot=1")

    assert absolute_columns(names).tolist() == [0, 6]
