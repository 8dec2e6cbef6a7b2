from __future__ import annotations

import numpy as np
import torch

from services.predictor.policy.environment import SessionState
from services.predictor.policy.q_network import ActionValues, QInputs, QNetwork, inputs_at, q_inputs_of
from tests.services.predictor.policy.world import SLOTS, world


def network(seen: QInputs, seed: int = 0) -> QNetwork:
    """With weights drawn by chance in every part, as if it had learned something."""
    torch.manual_seed(seed)
    made = QNetwork(SLOTS, seen.slot.shape[2], seen.event.shape[1], width=8, dropout=0.5)
    made.standardise_by(seen)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return made.double().eval()


def seen_of(count: int = 2) -> QInputs:
    return q_inputs_of(world(count, seed=4).scene, dtype=torch.float64)


def test_before_returns_are_learned_a_value_is_probability_times_payment_less_the_unit() -> None:
    seen = seen_of()
    made = QNetwork(SLOTS, seen.slot.shape[2], seen.event.shape[1], width=8, dropout=0.0).double()

    found = made(seen)

    expected = seen.win * found.log_payout.clamp_min(0.0).exp() - 1.0
    torch.testing.assert_close(found.added[:, 1:], expected)
    assert not found.session.any()


def test_abstaining_adds_nothing_and_an_empty_slot_is_never_backed() -> None:
    seen = seen_of()
    taken = seen.occupied.clone()
    taken[:, 2] = False

    found: ActionValues = network(seen)(seen._replace(occupied=taken, win=seen.win * taken))

    assert not found.added[:, 0].any()
    assert torch.isneginf(found.added[:, 3]).all()
    assert torch.isfinite(found.added[:, :3]).all()
    assert torch.isfinite(found.actions[:, :3]).all()


def test_the_market_s_shares_sum_to_the_part_that_is_paid_out() -> None:
    seen = seen_of()
    made = network(seen)

    shares = (-made(seen).log_payout).exp().sum(dim=1)

    torch.testing.assert_close(shares, (-made.log_payback).exp().expand_as(shares))


def test_an_empty_slot_s_features_change_nothing() -> None:
    seen = seen_of()
    taken = seen.occupied.clone()
    taken[:, 1] = False
    seen = seen._replace(occupied=taken, win=seen.win * taken)
    other = seen.slot.clone()
    other[:, 1] = 1e3
    made = network(seen)

    torch.testing.assert_close(made(seen).added, made(seen._replace(slot=other)).added, rtol=0, atol=0)


def test_how_the_session_stands_is_part_of_the_state() -> None:
    seen = seen_of()
    made = network(seen)
    rows = np.arange(len(seen.win))
    gone_on = SessionState(np.full(len(rows), 0.5), np.full(len(rows), 0.5), np.full(len(rows), -0.5))

    assert not torch.equal(made(seen).session, made(inputs_at(seen, rows, gone_on.matrix())).session)
    assert not torch.equal(made(seen).added, made(inputs_at(seen, rows, gone_on.matrix())).added)
