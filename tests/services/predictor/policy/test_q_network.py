from __future__ import annotations

import numpy as np
import torch

from services.predictor.policy.environment import SessionState
from services.predictor.policy.q_network import ActionValues, QInputs, QNetwork, inputs_at, q_inputs_of
from tests.services.predictor.policy.world import SLOTS, world


def network(inputs: QInputs, seed: int = 0) -> QNetwork:
    """All weights are random. Before training, some parts of a network have no effect."""
    torch.manual_seed(seed)
    model = QNetwork(SLOTS, inputs.slot.shape[2], inputs.event.shape[1], width=8, dropout=0.5)
    model.standardise_by(inputs)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model.double().eval()


def sample_inputs(count: int = 2) -> QInputs:
    return q_inputs_of(world(count, seed=4).context, dtype=torch.float64)


def test_an_untrained_value_is_probability_times_payout_minus_the_stake() -> None:
    inputs = sample_inputs()
    model = QNetwork(SLOTS, inputs.slot.shape[2], inputs.event.shape[1], width=8, dropout=0.0).double()

    output = model(inputs)

    expected = inputs.win * output.log_payout.clamp_min(0.0).exp() - 1.0
    torch.testing.assert_close(output.added[:, 1:], expected)
    assert not output.session.any()


def test_abstaining_adds_nothing_and_an_empty_slot_is_never_backed() -> None:
    inputs = sample_inputs()
    occupied = inputs.occupied.clone()
    occupied[:, 2] = False

    output: ActionValues = network(inputs)(inputs._replace(occupied=occupied, win=inputs.win * occupied))

    assert not output.added[:, 0].any()
    assert torch.isneginf(output.added[:, 3]).all()
    assert torch.isfinite(output.added[:, :3]).all()
    assert torch.isfinite(output.actions[:, :3]).all()


def test_the_market_shares_sum_to_one_over_the_payback() -> None:
    inputs = sample_inputs()
    model = network(inputs)

    shares = (-model(inputs).log_payout).exp().sum(dim=1)

    torch.testing.assert_close(shares, (-model.log_payback).exp().expand_as(shares))


def test_features_of_an_empty_slot_change_nothing() -> None:
    inputs = sample_inputs()
    occupied = inputs.occupied.clone()
    occupied[:, 1] = False
    inputs = inputs._replace(occupied=occupied, win=inputs.win * occupied)
    other = inputs.slot.clone()
    other[:, 1] = 1e3
    model = network(inputs)

    torch.testing.assert_close(model(inputs).added, model(inputs._replace(slot=other)).added, rtol=0, atol=0)


def test_the_session_state_is_part_of_the_input() -> None:
    inputs = sample_inputs()
    model = network(inputs)
    rows = np.arange(len(inputs.win))
    later = SessionState(np.full(len(rows), 0.5), np.full(len(rows), 0.5), np.full(len(rows), -0.5))

    assert not torch.equal(model(inputs).session, model(inputs_at(inputs, rows, later.matrix())).session)
    assert not torch.equal(model(inputs).added, model(inputs_at(inputs, rows, later.matrix())).added)
