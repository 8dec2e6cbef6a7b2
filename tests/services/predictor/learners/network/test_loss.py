"""What the network is taught by, checked by hand."""

from __future__ import annotations

import math

import pytest
import torch

from services.predictor.learners.network.loss import AUXILIARY_WEIGHT, PLACE_WEIGHTS, loss_of, places_loss
from services.predictor.learners.network.network import EMPTY, Logits

# Chances to win of .5, .3 and .2, and to come second that are in the same proportions.
SCORES = torch.tensor([0.5, 0.3, 0.2]).log()
FIRST, SECOND, THIRD = PLACE_WEIGHTS


def loss(places: list[int], result: torch.Tensor = SCORES, later: torch.Tensor = SCORES) -> float:
    return float(places_loss(result[None], later[None], torch.tensor([places])))


def test_the_first_three_places_are_taught_one_after_the_other() -> None:
    found = loss([2, 1, 3])

    second = 0.5 / (0.5 + 0.2)  # the winner is out
    assert found == pytest.approx(-FIRST * math.log(0.3) - SECOND * math.log(second) - THIRD * math.log(1.0), abs=1e-6)


def test_the_places_behind_the_winner_have_scores_of_their_own() -> None:
    later = torch.tensor([0.0, 0.0, 0.0])

    assert loss([1, 2, 3], later=later) == pytest.approx(-math.log(0.5) - SECOND * math.log(0.5), abs=1e-6)


def test_a_dead_heat_ends_what_is_taught() -> None:
    assert loss([1, 1, 3]) == pytest.approx(0.0)
    assert loss([1, 2, 2]) == pytest.approx(-math.log(0.5), abs=1e-6)


def test_an_event_without_places_teaches_none() -> None:
    assert loss([0, 0, 0]) == 0.0
    assert loss([0, 2, 3]) == 0.0
    assert loss([1, 0, 0]) == pytest.approx(-math.log(0.5), abs=1e-6)


def test_two_entries_have_two_places() -> None:
    assert loss([2, 1], SCORES[:2], SCORES[:2]) == pytest.approx(-math.log(0.3 / 0.8), abs=1e-6)


def test_an_empty_slot_is_nobodys_rival() -> None:
    score = torch.tensor([math.log(0.5), math.log(0.3), EMPTY])

    assert loss([1, 2, 0], score, score) == pytest.approx(-math.log(0.5 / 0.8), abs=1e-6)


def heads(**given: torch.Tensor) -> Logits:
    """One event of two entries and an empty slot; nothing is preferred."""
    known = {
        "result": torch.tensor([[0.0, 0.0, EMPTY]]),
        "later": torch.tensor([[0.0, 0.0, EMPTY]]),
        "top3": torch.zeros(1, 3),
        "trend": torch.zeros(1, 3),
        "behaviour": torch.zeros(1, 3, 3),
        "embedding": torch.zeros(1, 1),
        "attention": torch.zeros(1, 3, 1),
    } | given
    return Logits(**known)


PLACES, TAKEN = torch.tensor([[1, 2, 0]]), torch.tensor([[True, True, False]])


def whole(logits: Logits, trend: int, behaviour: list[int]) -> float:
    return float(loss_of(logits, PLACES, torch.tensor([trend]), torch.tensor([behaviour]), TAKEN))


def test_the_other_heads_teach_beside_it_and_the_unknown_not_at_all() -> None:
    winner = math.log(2)
    top3 = 2 / 3 * math.log(2)  # of three slots, one is empty

    assert whole(heads(), -1, [-1, -1, -1]) == pytest.approx(winner + AUXILIARY_WEIGHT * top3, abs=1e-6)
    assert whole(heads(), 1, [-1, -1, -1]) == pytest.approx(winner + AUXILIARY_WEIGHT * (top3 + math.log(3)), abs=1e-6)
    assert whole(heads(), -1, [0, -1, -1]) == pytest.approx(
        winner + AUXILIARY_WEIGHT * (top3 + math.log(3) / 3), abs=1e-6
    )


def test_what_is_said_of_an_empty_slot_teaches_nothing() -> None:
    loud = heads(top3=torch.tensor([[0.0, 0.0, 9.0]]), behaviour=torch.tensor([[[0.0] * 3, [0.0] * 3, [9.0, 0, 0]]]))

    assert whole(loud, 1, [0, 1, -1]) == whole(heads(), 1, [0, 1, -1])


def test_nothing_becomes_infinite_where_slots_are_empty() -> None:
    result = torch.tensor([[0.0, 0.0, EMPTY]], requires_grad=True)
    found = loss_of(heads(result=result, later=result), PLACES, torch.tensor([-1]), torch.full((1, 3), -1), TAKEN)
    (gradient,) = torch.autograd.grad(found, result)

    assert torch.isfinite(gradient).all()
    assert gradient[0, 2] == 0
