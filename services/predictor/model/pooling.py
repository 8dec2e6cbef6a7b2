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
WEIGHT_SPREAD, BIAS_SPREAD = 0.1, 0.05
STEPS = 80
IMPOSSIBLE = -1e9
# Number of places that the top3 head covers; distance of probabilities from 0 and 1.
FIRST, LEAST = 3, 1e-6


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


def pooled(pooling: Pooling, network: Floats, trees: Sequence[Floats], taken: Bools) -> Floats:
    """(n, S), several (n, S) -> (n, S) probabilities; 0 in empty slots, rows sum to 1."""
    score = pooling.networks * centred(network, taken) + np.array(pooling.slot_bias)
    for each in trees:
        score = score + pooling.trees / len(trees) * centred(each, taken)
    return softmax(score, taken)


def without_trees(pooling: Pooling) -> Pooling:
    """For a state without trees: the networks get the weight of the trees too."""
    top3 = pooling.top3.model_copy(update={"networks": pooling.top3.networks + pooling.top3.trees, "trees": 0.0})
    return pooling.model_copy(update={"networks": pooling.networks + pooling.trees, "trees": 0.0, "top3": top3})


def mixed(mixing: Mixing, network: Floats, trees: Sequence[Floats], taken: Bools) -> Floats:
    """(n, S) log-odds of the first three places, several (n, S) of trees -> (n, S) probabilities.

    They are scaled to sum to three over an event's entries, but none exceeds 1 - 1e-6. With three entries or fewer, all
    are 1 - 1e-6. 0 in empty slots.
    """
    odds = mixing.networks * network + mixing.bias
    for each in trees:
        odds = odds + mixing.trees / len(trees) * each
    found = np.where(taken, 1.0 / (1.0 + np.exp(-odds)), 0.0)
    total, count = np.zeros(len(found)), np.zeros(len(found))
    for slot in range(found.shape[1]):
        total += found[:, slot]
        count += taken[:, slot]
    share = np.where(count > FIRST, FIRST / np.maximum(total, LEAST), np.inf)
    return np.where(taken, np.clip(found * share[:, None], LEAST, 1 - LEAST), 0.0)


def shifted(scaling: Scaling, logits: Floats) -> Floats:
    """(..., K) logits -> probabilities of the classes."""
    return softmax(logits / scaling.temperature + np.array(scaling.bias))


def centred(scores: Floats, taken: Bools) -> Floats:
    """Subtracts the mean over the occupied slots: a common offset says nothing about the winner. 0 in empty slots."""
    total, count = np.zeros(len(scores)), np.zeros(len(scores))
    for slot in range(scores.shape[1]):
        total += np.where(taken[:, slot], scores[:, slot], 0.0)
        count += taken[:, slot]
    return np.where(taken, scores - (total / np.maximum(count, 1))[:, None], 0.0)


def fit_result(
    network: Floats, trees: Sequence[Floats], taken: Bools, winner: Ints, tree_share: float = 0.5
) -> tuple[float, float, list[float]]:
    """Fits the weights of networks and trees and the bias of each slot: the posterior mode under a normal prior.

    `winner` (n,): slot index of each event; events without a winner must be left out. `tree_share`: prior weight of the
    trees.
    """
    parts = [centred(network, taken)]
    if trees:
        parts.append(np.mean([centred(each, taken) for each in trees], axis=0))
    scores = torch.tensor(np.stack(parts))  # (parts, n, S)
    start = torch.tensor([1 - tree_share, tree_share] if trees else [1.0], dtype=torch.float64)
    weights = start.clone().requires_grad_()
    bias = torch.zeros(taken.shape[1], dtype=torch.float64, requires_grad=True)
    there, happened = torch.from_numpy(taken), torch.from_numpy(winner)

    def loss() -> Tensor:
        logits = (weights[:, None, None] * scores).sum(0) + bias
        fitted = functional.cross_entropy(logits.masked_fill(~there, IMPOSSIBLE), happened, reduction="sum")
        lean = (((weights - start) / WEIGHT_SPREAD) ** 2).sum() + ((bias / BIAS_SPREAD) ** 2).sum()
        return fitted + lean / 2

    _minimise(loss, [weights, bias])
    found = weights.detach().tolist()
    return found[0], found[1] if trees else 0.0, bias.detach().tolist()


def fit_mixing(network: Floats, trees: Floats | None, came: Ints) -> Mixing:
    """Fits to log-odds (m,) of the networks and of the trees, and outcomes (m,), 0 or 1."""
    parts = torch.tensor(np.stack([network] if trees is None else [network, trees]))
    if not len(came):
        return Mixing()
    start = torch.full((len(parts),), 1 / len(parts), dtype=torch.float64)
    weights = start.clone().requires_grad_()
    bias = torch.zeros((), dtype=torch.float64, requires_grad=True)
    happened = torch.from_numpy(came).double()

    def loss() -> Tensor:
        odds = (weights[:, None] * parts).sum(0) + bias
        fitted = functional.binary_cross_entropy_with_logits(odds, happened, reduction="sum")
        return fitted + ((((weights - start) / WEIGHT_SPREAD) ** 2).sum() + (bias / BIAS_SPREAD) ** 2) / 2

    _minimise(loss, [weights, bias])
    found = weights.detach().tolist()
    return Mixing(networks=found[0], trees=0.0 if trees is None else found[1], bias=float(bias.detach()))


def fit_scaling(logits: Floats, happened: Ints) -> Scaling:
    """Fits to (n, K) logits and (n,) class indices. Without events, the logits stay as they are."""
    classes = logits.shape[-1]
    if not len(happened):
        return Scaling(bias=(0.0,) * classes)
    given, came = torch.tensor(logits), torch.from_numpy(happened)
    log_temperature = torch.zeros((), dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(classes, dtype=torch.float64, requires_grad=True)

    def loss() -> Tensor:
        scaled = given / log_temperature.exp() + bias
        fitted = functional.cross_entropy(scaled, came, reduction="sum")
        return fitted + ((log_temperature / WEIGHT_SPREAD) ** 2 + ((bias / BIAS_SPREAD) ** 2).sum()) / 2

    _minimise(loss, [log_temperature, bias])
    return Scaling(temperature=float(log_temperature.detach().exp()), bias=tuple(bias.detach().tolist()))


def _minimise(loss: Callable[[], Tensor], parameters: list[Tensor]) -> None:
    optimizer = torch.optim.LBFGS(parameters, max_iter=STEPS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        found = loss()
        found.backward()  # type: ignore[no-untyped-call]
        return found

    optimizer.step(closure)  # type: ignore[no-untyped-call]
