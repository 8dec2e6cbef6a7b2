"""The network by itself."""

from __future__ import annotations

import math

import pytest
import torch

from services.predictor.calibrate import calibrate
from services.predictor.model import Network, Shape, loss_of, places_loss

SHAPE = Shape(slots=4, entry_features=5, event_features=3, venues=2)


def inputs(batch: int = 3) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    entry = torch.randn(batch, 4, 5, generator=generator)
    return (
        entry,
        torch.randn(batch, 3, generator=generator),
        torch.ones(batch, 4, dtype=torch.bool),
        torch.zeros(batch, dtype=torch.int64),
    )


def test_before_training_it_says_the_base_rate() -> None:
    network = Network(SHAPE).eval()
    rate = torch.tensor([0.4, 0.3, 0.2, 0.1])
    network.start_from(rate, torch.tensor([0.9, 0.8, 0.7, 0.6]))

    logits = network(*inputs())

    torch.testing.assert_close(logits.result.softmax(1), rate.expand(3, 4))
    torch.testing.assert_close(logits.top3.sigmoid(), torch.tensor([0.9, 0.8, 0.7, 0.6]).expand(3, 4))


def test_an_empty_slot_has_no_chance_and_no_influence() -> None:
    torch.manual_seed(2)
    network = Network(SHAPE).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    entry, event, taken, venue = inputs()
    taken[:, 3] = False

    before = network(entry, event, taken, venue).result.softmax(1)
    entry[:, 3] = 100.0
    after = network(entry, event, taken, venue).result.softmax(1)

    torch.testing.assert_close(before, after)
    assert before[:, 3].tolist() == [0.0, 0.0, 0.0]


def test_the_places_loss_is_plackett_luce() -> None:
    logits = torch.tensor([[1.0, 0.5, 0.0, -1.0]])
    weights = logits.exp()[0]

    found = places_loss(logits, torch.tensor([[2, 1, 4, 3]]))

    first = math.log(weights[1] / weights.sum())
    second = math.log(weights[0] / (weights.sum() - weights[1]))
    third = math.log(weights[3] / (weights[2] + weights[3]))
    assert found.item() == pytest.approx(-(first + 0.4 * second + 0.2 * third), rel=1e-5)


def test_a_dead_heat_teaches_nothing_from_there_on() -> None:
    logits = torch.tensor([[1.0, 0.5, 0.0, -1.0]])

    won_by_two = places_loss(logits, torch.tensor([[1, 1, 3, 4]]))
    second_by_two = places_loss(logits, torch.tensor([[1, 2, 2, 4]]))

    assert won_by_two.item() == 0.0
    assert second_by_two.item() == pytest.approx(-logits.log_softmax(1)[0, 0].item())


def test_unknown_targets_give_a_finite_gradient() -> None:
    network = Network(SHAPE)
    entry, event, taken, venue = inputs()
    none = torch.full((3,), -1), torch.full((3, 4), -1)

    loss_of(network(entry, event, taken, venue), torch.zeros(3, 4, dtype=torch.int64), *none, taken).backward()  # type: ignore[no-untyped-call]

    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)


def test_calibration_cools_what_is_too_sure() -> None:
    generator = torch.Generator().manual_seed(3)
    true = torch.randn(4000, 4, generator=generator)
    winner = torch.multinomial(true.softmax(1), 1, generator=generator)[:, 0]

    found = calibrate(2 * true, winner)

    assert found.temperature == pytest.approx(2, rel=0.1)
    assert max(abs(bias) for bias in found.slot_bias) < 0.1


def test_calibration_on_nothing_changes_nothing() -> None:
    found = calibrate(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))

    assert (found.temperature, found.slot_bias) == (1.0, (0.0, 0.0, 0.0, 0.0))
