from __future__ import annotations

import numpy as np

from services.predictor.policy.context import absolute_columns, policy_context_of
from tests.services.predictor.policy.world import world


def test_every_event_is_described_by_itself() -> None:
    made = world(20, seed=1)
    whole = made.scene
    row = np.array([17])

    alone = policy_context_of(
        type(made.told)(*(part[row] for part in made.told)), made.events.occupied[row], made.marks[row]
    )

    np.testing.assert_array_equal(alone.slot, whole[row].slot)
    np.testing.assert_array_equal(alone.event, whole[row].event)
    np.testing.assert_array_equal(alone.win, whole[row].win)


def test_certainty_and_impossibility_stay_finite() -> None:
    made = world(1, seed=1)
    made.told.win[0] = (1.0, 0.0, 0.0)

    scene = made.scene

    assert np.isfinite(scene.slot).all()
    assert np.isfinite(scene.event).all()


def test_an_empty_slot_has_no_features_and_no_chance() -> None:
    made = world(2, seed=1)
    taken = made.events.occupied.copy()
    taken[3, 0] = False

    scene = policy_context_of(made.told, taken, made.marks)

    assert not scene.slot[3, 0].any()
    assert scene.win[3, 0] == 0.0


def test_features_that_repeat_others_within_the_event_are_left_out() -> None:
    names = ("points", "points_in_event", "points_rank", "points_inner", "points_outer", "points_unknown", "slot=1")

    assert absolute_columns(names).tolist() == [0, 6]
