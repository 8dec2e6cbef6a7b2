"""The loss of the network, compared with values computed by hand."""

from __future__ import annotations

import math

import pytest
import torch

from services.predictor.learners.network.loss import AUXILIARY_WEIGHT, PLACE_WEIGHTS, loss_of, places_loss
from services.predictor.learners.network.network import EMPTY, Logits

# Win probabilities of .5, .3 and .2; second places are in the same proportions.
SCORES = torch.tensor([0.5, 0.3, 0.2]).log()
FIRST, SECOND, THIRD = PLACE_WEIGHTS


def loss(places: list[int], result: torch.Tensor = SCORES, later: torch.Tensor = SCORES) -> float:
    return float(places_loss(result[None], later[None], torch.tensor([places])))


def test_the_loss_covers_the_first_three_places_in_turn() -> None:
    value = loss([2, 1, 3])

    second = 0.5 / (0.5 + 0.2)  # the winner is out
    assert value == pytest.approx(-FIRST * math.log(0.3) - SECOND * math.log(second) - THIRD * math.log(1.0), abs=1e-6)


def test_places_after_the_first_have_their_own_scores() -> None:
    later = torch.tensor([0.0, 0.0, 0.0])

    assert loss([1, 2, 3], later=later) == pytest.approx(-math.log(0.5) - SECOND * math.log(0.5), abs=1e-6)


def test_places_after_a_dead_heat_are_ignored() -> None:
    assert loss([1, 1, 3]) == pytest.approx(0.0)
    assert loss([1, 2, 2]) == pytest.approx(-math.log(0.5), abs=1e-6)


def test_an_event_without_places_has_no_loss() -> None:
    assert loss([0, 0, 0]) == 0.0
    assert loss([0, 2, 3]) == 0.0
    assert loss([1, 0, 0]) == pytest.approx(-math.log(0.5), abs=1e-6)


def test_two_entries_have_two_places() -> None:
    assert loss([2, 1], SCORES[:2], SCORES[:2]) == pytest.approx(-math.log(0.3 / 0.8), abs=1e-6)


def test_an_empty_slot_does_not_compete() -> None:
    score = torch.tensor([math.log(0.5), math.log(0.3), EMPTY])

    assert loss([1, 2, 0], score, score) == pytest.approx(-math.log(0.5 / 0.8), abs=1e-6)


def heads(**changes: torch.Tensor) -> Logits:
    """One event of two entries and an empty slot; nothing is preferred."""
    known = {
        "result": torch.tensor([[0.0, 0.0, EMPTY]]),
        "later": torch.tensor([[0.0, 0.0, EMPTY]]),
        "top3": torch.zeros(1, 3),
        "trend": torch.zeros(1, 3),
        "behaviour": torch.zeros(1, 3, 3),
        "embedding": torch.zeros(1, 1),
        "attention": torch.zeros(1, 3, 1),
    } | changes
    return Logits(**known)


PLACES, OCCUPIED = torch.tensor([[1, 2, 0]]), torch.tensor([[True, True, False]])


def total_loss(logits: Logits, trend: int, behaviour: list[int]) -> float:
    return float(loss_of(logits, PLACES, torch.tensor([trend]), torch.tensor([behaviour]), OCCUPIED))


def test_the_other_heads_are_added_and_unknown_targets_are_ignored() -> None:
    winner = math.log(2)
    top3 = 2 / 3 * math.log(2)  # of three slots, one is empty

    assert total_loss(heads(), -1, [-1, -1, -1]) == pytest.approx(winner + AUXILIARY_WEIGHT * top3, abs=1e-6)
    assert total_loss(heads(), 1, [-1, -1, -1]) == pytest.approx(
        winner + AUXILIARY_WEIGHT * (top3 + math.log(3)), abs=1e-6
    )
    assert total_loss(heads(), -1, [0, -1, -1]) == pytest.approx(
        winner + AUXILIARY_WEIGHT * (top3 + math.log(3) / 3), abs=1e-6
    )


def test_outputs_of_an_empty_slot_do_not_change_the_loss() -> None:
    loud = heads(top3=torch.tensor([[0.0, 0.0, 9.0]]), behaviour=torch.tensor([[[0.0] * 3, [0.0] * 3, [9.0, 0, 0]]]))

    assert total_loss(loud, 1, [0, 1, -1]) == total_loss(heads(), 1, [0, 1, -1])


def test_loss_and_gradient_are_finite_with_empty_slots() -> None:
    result = torch.tensor([[0.0, 0.0, EMPTY]], requires_grad=True)
    total = loss_of(heads(result=result, later=result), PLACES, torch.tensor([-1]), torch.full((1, 3), -1), OCCUPIED)
    (gradient,) = torch.autograd.grad(total, result)

    assert torch.isfinite(gradient).all()
    assert gradient[0, 2] == 0
