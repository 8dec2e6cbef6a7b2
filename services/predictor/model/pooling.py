"""Pools the members' scores into one set of calibrated probabilities.

P(win) = softmax over the entries of (a x mean network logit + b x mean tree score + a bias of the slot): a log-linear
pool whose weights also act as its temperature. The other heads get a temperature and a bias per class. All parameters
are fitted on the validation days, with a prior that favours no change.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor
from torch.nn import functional

from services.predictor.data.events import Bools, Floats, Ints
from services.predictor.learners.softmax import softmax

# Standard deviations of the prior: of weights and log-temperatures, and of biases. With only a few hundred events to
# fit to, unconstrained parameters would fit the noise.
WEIGHT_STD, BIAS_STD = 0.1, 0.05
STEPS = 80
IMPOSSIBLE = -1e9
# Number of places that the top3 head covers; distance of probabilities from 0 and 1.
TOP_PLACES, MIN_PROBABILITY = 3, 1e-6


class Scaling(BaseModel):
    """Logits -> logits / temperature + bias, one bias per class."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    temperature: float = 1.0
    bias: tuple[float, ...] = ()


class Mixing(BaseModel):
    """Log-odds of one probability: networks x mean network log-odds + trees x mean tree log-odds + bias."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    networks: float = 1.0
    trees: float = 0.0
    bias: float = 0.0


class Pooling(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    networks: float
    trees: float
    slot_bias: tuple[float, ...]
    top3: Mixing
    trend: Scaling
    behaviour: Scaling


def pool_win(pooling: Pooling, network: Floats, trees: Sequence[Floats], occupied: Bools) -> Floats:
    """(n, S), several (n, S) -> (n, S) probabilities; 0 in empty slots, rows sum to 1."""
    score = pooling.networks * centre(network, occupied) + np.array(pooling.slot_bias)
    for each in trees:
        score = score + pooling.trees / len(trees) * centre(each, occupied)
    return softmax(score, occupied)


def without_trees(pooling: Pooling) -> Pooling:
    """For a state without trees: the networks get the weight of the trees too."""
    top3 = pooling.top3.model_copy(update={"networks": pooling.top3.networks + pooling.top3.trees, "trees": 0.0})
    return pooling.model_copy(update={"networks": pooling.networks + pooling.trees, "trees": 0.0, "top3": top3})


def pool_top3(mixing: Mixing, network: Floats, trees: Sequence[Floats], occupied: Bools) -> Floats:
    """(n, S) log-odds of the first three places, several (n, S) of trees -> (n, S) probabilities.

    They are scaled to sum to three over an event's entries, but none exceeds 1 - 1e-6. With three entries or fewer, all
    are 1 - 1e-6. 0 in empty slots.
    """
    log_odds = mixing.networks * network + mixing.bias
    for each in trees:
        log_odds = log_odds + mixing.trees / len(trees) * each
    probabilities = np.where(occupied, 1.0 / (1.0 + np.exp(-log_odds)), 0.0)
    total, count = np.zeros(len(probabilities)), np.zeros(len(probabilities))
    for slot in range(probabilities.shape[1]):
        total += probabilities[:, slot]
        count += occupied[:, slot]
    share = np.where(count > TOP_PLACES, TOP_PLACES / np.maximum(total, MIN_PROBABILITY), np.inf)
    return np.where(occupied, np.clip(probabilities * share[:, None], MIN_PROBABILITY, 1 - MIN_PROBABILITY), 0.0)


def calibrate(scaling: Scaling, logits: Floats) -> Floats:
    """(..., K) logits -> probabilities of the classes."""
    return softmax(logits / scaling.temperature + np.array(scaling.bias))


def centre(scores: Floats, occupied: Bools) -> Floats:
    """Subtracts the mean over the occupied slots: a common offset says nothing about the winner. 0 in empty slots."""
    total, count = np.zeros(len(scores)), np.zeros(len(scores))
    for slot in range(scores.shape[1]):
        total += np.where(occupied[:, slot], scores[:, slot], 0.0)
        count += occupied[:, slot]
    return np.where(occupied, scores - (total / np.maximum(count, 1))[:, None], 0.0)


def fit_result(
    network: Floats, trees: Sequence[Floats], occupied: Bools, winner: Ints, tree_share: float = 0.5
) -> tuple[float, float, list[float]]:
    """Fits the weights of networks and trees and the bias of each slot: the posterior mode under a normal prior.

    `winner` (n,): slot index of each event; events without a winner must be left out. `tree_share`: prior weight of the
    trees.
    """
    parts = [centre(network, occupied)]
    if trees:
        parts.append(np.mean([centre(each, occupied) for each in trees], axis=0))
    scores = torch.tensor(np.stack(parts))  # (parts, n, S)
    start = torch.tensor([1 - tree_share, tree_share] if trees else [1.0], dtype=torch.float64)
    weights = start.clone().requires_grad_()
    bias = torch.zeros(occupied.shape[1], dtype=torch.float64, requires_grad=True)
    mask, target = torch.from_numpy(occupied), torch.from_numpy(winner)

    def loss() -> Tensor:
        logits = (weights[:, None, None] * scores).sum(0) + bias
        log_loss = functional.cross_entropy(logits.masked_fill(~mask, IMPOSSIBLE), target, reduction="sum")
        penalty = (((weights - start) / WEIGHT_STD) ** 2).sum() + ((bias / BIAS_STD) ** 2).sum()
        return log_loss + penalty / 2

    _minimise(loss, [weights, bias])
    values = weights.detach().tolist()
    return values[0], values[1] if trees else 0.0, bias.detach().tolist()


def fit_mixing(network: Floats, trees: Floats | None, outcomes: Ints) -> Mixing:
    """Fits to log-odds (m,) of the networks and of the trees, and outcomes (m,), 0 or 1."""
    parts = torch.tensor(np.stack([network] if trees is None else [network, trees]))
    if not len(outcomes):
        return Mixing()
    start = torch.full((len(parts),), 1 / len(parts), dtype=torch.float64)
    weights = start.clone().requires_grad_()
    bias = torch.zeros((), dtype=torch.float64, requires_grad=True)
    target = torch.from_numpy(outcomes).double()

    def loss() -> Tensor:
        log_odds = (weights[:, None] * parts).sum(0) + bias
        log_loss = functional.binary_cross_entropy_with_logits(log_odds, target, reduction="sum")
        return log_loss + ((((weights - start) / WEIGHT_STD) ** 2).sum() + (bias / BIAS_STD) ** 2) / 2

    _minimise(loss, [weights, bias])
    values = weights.detach().tolist()
    return Mixing(networks=values[0], trees=0.0 if trees is None else values[1], bias=float(bias.detach()))


def fit_scaling(logits: Floats, classes_seen: Ints) -> Scaling:
    """Fits to (n, K) logits and (n,) class indices. Without events, the logits stay as they are."""
    classes = logits.shape[-1]
    if not len(classes_seen):
        return Scaling(bias=(0.0,) * classes)
    inputs, target = torch.tensor(logits), torch.from_numpy(classes_seen)
    log_temperature = torch.zeros((), dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(classes, dtype=torch.float64, requires_grad=True)

    def loss() -> Tensor:
        scaled = inputs / log_temperature.exp() + bias
        log_loss = functional.cross_entropy(scaled, target, reduction="sum")
        return log_loss + ((log_temperature / WEIGHT_STD) ** 2 + ((bias / BIAS_STD) ** 2).sum()) / 2

    _minimise(loss, [log_temperature, bias])
    return Scaling(temperature=float(log_temperature.detach().exp()), bias=tuple(bias.detach().tolist()))


def _minimise(loss: Callable[[], Tensor], parameters: list[Tensor]) -> None:
    optimizer = torch.optim.LBFGS(parameters, max_iter=STEPS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(closure)  # type: ignore[no-untyped-call]
