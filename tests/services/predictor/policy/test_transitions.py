from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from services.predictor.data.events import Ints, events_of
from services.predictor.policy.environment import SessionState, episodes_of, play
from services.predictor.policy.transitions import clip_payouts, transitions_of, winners
from tests.services.predictor.policy.world import HOUR_US, SLOTS, event, world

EVENTS = st.lists(
    st.tuples(st.integers(1, SLOTS), st.integers(0, SLOTS), st.floats(0.1, 3.0), st.booleans()), min_size=2, max_size=6
)


def chooser_of(actions: Ints) -> object:
    return lambda rows, _: actions[rows]


@settings(max_examples=60)
@given(outcomes=EVENTS, seed=st.integers(0, 1000))
def test_the_state_after_any_action_is_what_the_next_decision_knows(
    outcomes: list[tuple[int, int, float, bool]], seed: int
) -> None:
    events = [
        event(
            number,
            {winner: 250.0},
            status="void" if void else "settled",
            refunded=(refund,) if refund != winner else (),
            settled_us=(number + delay) * HOUR_US,
        )
        for number, (winner, refund, delay, void) in enumerate(outcomes, start=1)
    ]
    episodes = episodes_of(events_of(events, SLOTS), "observation")
    actions = np.random.default_rng(seed).integers(0, SLOTS + 1, len(events))
    _, before = play(episodes, chooser_of(actions))  # type: ignore[arg-type]

    transitions = transitions_of(episodes, actions, before, np.zeros(len(events)), 1.0)

    for at in range(len(transitions)):
        one = transitions[np.array([at])]
        if one.following[0] < 0:
            continue
        otherwise = actions.copy()
        otherwise[one.row[0]] = one.action[0]
        _, states = play(episodes, chooser_of(otherwise))  # type: ignore[arg-type]
        np.testing.assert_allclose(one.after[0], states.matrix()[one.following[0]], atol=1e-12)


def test_transitions_cover_every_action_except_refunded_stakes() -> None:
    events = [event(1, {1: 200}, refunded=(2,)), event(2, {}, status="void")]
    episodes = episodes_of(events_of(events, SLOTS), "observation")
    nothing = SessionState(np.ones(2), np.zeros(2), np.zeros(2))

    transitions = transitions_of(episodes, np.zeros(2, dtype=np.int64), nothing, np.zeros(2), 1.0)

    assert list(zip(transitions.row, transitions.action, transitions.reward, transitions.following, strict=True)) == [
        (0, 0, 0.0, 1),
        (0, 1, 1.0, 1),
        (0, 3, -1.0, 1),
        (1, 0, 0.0, -1),
    ]


def test_payouts_are_clipped_at_their_quantile_and_losses_are_kept() -> None:
    episodes = world(100, seed=5).episodes

    clipped = clip_payouts(episodes, 0.9)

    paid = episodes.reward[winners(episodes)]
    assert clipped.reward.max() == np.quantile(paid, 0.9)
    np.testing.assert_array_equal(clipped.reward == -1.0, episodes.reward == -1.0)
    assert (clipped.reward <= episodes.reward).all()
