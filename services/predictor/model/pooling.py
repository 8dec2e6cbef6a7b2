"""Members' opinions pooled into one, and made to mean what they say.

P(win) = softmax over the entries of (a x mean network logit + b x mean tree score + a bias of the slot): a log-linear
pool whose weights are also its temperature. The other heads get a temperature and a bias of each class. All is fitted
on the validation days, with a prior that leans towards changing nothing.
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

# How far calibration may lean away from "change nothing": with a few hundred events to fit on, free numbers would
# learn the noise. Standard deviations of weights and log-temperatures, and of biases.
WEIGHT_SPREAD, BIAS_SPREAD = 0.1, 0.05
STEPS = 80
IMPOSSIBLE = -1e9
# Places that the head of the first three speaks of; a probability is never 0 or 1.
FIRST, LEAST = 3, 1e-6


class Scaling(BaseModel):
    """Logits -> logits / temperature + bias, a bias a class."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    temperature: float = 1.0
    bias: tuple[float, ...] = ()


class Mixing(BaseModel):
    """Log-odds of one probability: networks x their mean + trees x theirs + bias."""

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
    """For a state that has no trees: the networks speak for them, just as surely."""
    top3 = pooling.top3.model_copy(update={"networks": pooling.top3.networks + pooling.top3.trees, "trees": 0.0})
    return pooling.model_copy(update={"networks": pooling.networks + pooling.trees, "trees": 0.0, "top3": top3})


def mixed(mixing: Mixing, network: Floats, trees: Sequence[Floats], taken: Bools) -> Floats:
    """(n, S) log-odds of the first three places, several (n, S) -> (n, S) probabilities.

    They are made to add up to three over an event's entries, as far as that makes none more than certain; where there
    are no more than three, all are certain. 0 in empty slots.
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
    """Against the mean of the entries that are there: what all share tells nothing of who wins."""
    total, count = np.zeros(len(scores)), np.zeros(len(scores))
    for slot in range(scores.shape[1]):
        total += np.where(taken[:, slot], scores[:, slot], 0.0)
        count += taken[:, slot]
    return np.where(taken, scores - (total / np.maximum(count, 1))[:, None], 0.0)


def fit_result(
    network: Floats, trees: Sequence[Floats], taken: Bools, winner: Ints, tree_share: float = 0.5
) -> tuple[float, float, list[float]]:
    """Weights of networks and trees, and the bias of each slot: the most probable under a normal prior.

    winner (n,): slot index of each event; events without one are not to be given. `tree_share`: what the prior gives
    the trees.
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
    """Log-odds (m,) of the networks and of the trees, (m,) 0 or 1: whether it came."""
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
    """(n, K) logits, (n,) class index. Nothing known: nothing changed."""
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
