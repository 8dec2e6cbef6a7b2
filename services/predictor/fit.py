"""The training loop: AdamW, one cycle, a running mean of the weights, and the epoch that validated best. Pure.

Each epoch shows every event once, as its card alone or as observed, so that one network learns both states.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch.optim import AdamW
from torch.optim.lr_scheduler import OneCycleLR

from services.predictor.facts import STATES, State
from services.predictor.features import Bools, Features
from services.predictor.model import Network, Shape, loss_of
from services.predictor.targets import Targets
from services.predictor.trained import logits_of, tensors_of

CARD_SHARE = 0.4
# The running mean of the weights forgets over about as many steps as an epoch of a small season has.
WEIGHT_AVERAGE = 0.98


@dataclass(frozen=True)
class Plan:
    """How long and how hard to train. `patience`: epochs without a better validation before it ends.

    The straight lines (model.py) learn faster than the rest, and a small season decays all weights hard: there the
    lines carry most, and what the rest finds beyond them is mostly noise.
    """

    epochs: int = 12
    batch: int = 64
    learning_rate: float = 1e-3
    straight_rate: float = 1e-2
    weight_decay: float = 1.0
    patience: int = 5


@dataclass(frozen=True)
class Lesson:
    """What is learned from: both states' features and the targets, and which events train."""

    features: dict[State, Features]
    observed: Bools
    targets: Targets
    training: Bools


def plan_for(events: int) -> Plan:
    """A long archive needs fewer passes and takes larger steps' worth of events at a time."""
    return Plan() if events < 12_000 else Plan(epochs=9, batch=256, learning_rate=2e-3, weight_decay=0.1)


def fit(
    shape: Shape,
    lesson: Lesson,
    rates: tuple[tuple[float, ...], tuple[float, ...]],
    plan: Plan,
    seed: int,
    log: Callable[[str], None],
) -> Network:
    """The averaged weights of the epoch that validated best."""
    torch.manual_seed(seed)
    network, average = Network(shape), Network(shape)
    network.start_from(torch.tensor(rates[0]), torch.tensor(rates[1]))
    average.load_state_dict(network.state_dict())
    steps = plan.epochs * math.ceil(lesson.training.sum() / plan.batch)
    optimizer, schedule = _optimizer(network, plan, steps)
    best, best_weights, best_epoch = math.inf, average.state_dict(), 0
    rng = np.random.default_rng(seed)
    for epoch in range(1, plan.epochs + 1):
        _learn(network, average, _batches(lesson, plan.batch, rng), optimizer, schedule)
        found = _validation(average, lesson)
        log(f"epoch {epoch} of {plan.epochs}: validation log-loss {found:.4f}")
        if found < best:
            best, best_epoch = found, epoch
            best_weights = {name: value.clone() for name, value in average.state_dict().items()}
        elif epoch - best_epoch >= plan.patience:
            break
    average.load_state_dict(best_weights)
    return average


def _optimizer(network: Network, plan: Plan, steps: int) -> tuple[AdamW, OneCycleLR]:
    straight = {"params": [network.straight.weight], "lr": plan.straight_rate}
    bent = {"params": [p for p in network.parameters() if p is not network.straight.weight], "lr": plan.learning_rate}
    optimizer = AdamW([straight, bent], weight_decay=plan.weight_decay)
    schedule = OneCycleLR(optimizer, [plan.straight_rate, plan.learning_rate], total_steps=steps, pct_start=0.25)
    return optimizer, schedule


def _learn(
    network: Network,
    average: Network,
    batches: Iterator[tuple[Features, Targets]],
    optimizer: AdamW,
    schedule: OneCycleLR,
) -> None:
    """One epoch."""
    network.train()
    for batch, targets in batches:
        loss = loss_of(network(*tensors_of(batch)), *_target_tensors(targets), torch.from_numpy(batch.taken))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        _blend(average, network)


def _blend(average: Network, network: Network) -> None:
    with torch.no_grad():
        for mean, value in zip(average.parameters(), network.parameters(), strict=True):
            mean.lerp_(value, 1 - WEIGHT_AVERAGE)


def _batches(lesson: Lesson, size: int, rng: np.random.Generator) -> Iterator[tuple[Features, Targets]]:
    """Every training event once, in random order, as its card alone or (where it was) as observed."""
    order = rng.permutation(np.flatnonzero(lesson.training))
    as_card = (rng.random(len(order)) < CARD_SHARE) | ~lesson.observed[order]
    for start in range(0, len(order), size):
        rows, cards = order[start : start + size], as_card[start : start + size]
        card, observed = lesson.features["card"][rows], lesson.features["observation"][rows]
        chosen = Features(
            np.where(cards[:, None, None], card.entry, observed.entry),
            np.where(cards[:, None], card.event, observed.event),
            card.taken,
            card.venue,
        )
        yield chosen, lesson.targets[rows]


def _target_tensors(targets: Targets) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return torch.from_numpy(targets.places), torch.from_numpy(targets.trend), torch.from_numpy(targets.behaviour)


def _validation(network: Network, lesson: Lesson) -> float:
    """The training loss of the days kept back, mean over both states: all heads say when to stop."""
    losses = []
    for state in STATES:
        rows = np.flatnonzero(~lesson.training & lesson.observed if state == "observation" else ~lesson.training)
        if len(rows):
            features = lesson.features[state][rows]
            targets = _target_tensors(lesson.targets[rows])
            losses.append(float(loss_of(logits_of(network, features), *targets, torch.from_numpy(features.taken))))
    return sum(losses) / len(losses) if losses else 0.0
