"""Training loop: AdamW with a one-cycle schedule, averaged weights, and early stopping on the validation loss.

Each epoch shows every event once, as its card alone or as observed, so that one network learns both states.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor
from torch.optim import AdamW
from torch.optim.lr_scheduler import OneCycleLR

from services.predictor.data.events import STATES, Bools, Ints, State
from services.predictor.data.targets import Targets
from services.predictor.features.inputs import Inputs
from services.predictor.learners.network.inference import batch_of, logits_of
from services.predictor.learners.network.loss import loss_of
from services.predictor.learners.network.network import LinearInit, Network, NetworkBatch, Shape

# Fewer steps leave no room for a cycle: the schedule divides by the length of its warm-up.
MIN_STEPS = 8


@dataclass(frozen=True)
class OptimizerConfig:
    """Optimizer settings. `linear_rate`: learning rate of the linear terms. `average`: decay of the moving average of
    the weights per step. `card_share`: share of events shown as their card only. `patience`: epochs without a better
    validation loss before training stops."""

    epochs: int = 9
    batch: int = 512
    learning_rate: float = 2e-3
    linear_rate: float = 1e-4
    weight_decay: float = 0.2
    average: float = 0.99
    card_share: float = 0.3
    patience: int = 3


@dataclass(frozen=True)
class Examples:
    """Inputs of both states, targets, and masks of the events that train and validate. Other events are not used."""

    inputs: dict[State, Inputs]
    observed: Bools
    targets: Targets
    training: Bools
    validation: Bools
    linear_init: LinearInit


def fit(shape: Shape, examples: Examples, config: OptimizerConfig, seed: int) -> tuple[Network, list[float]]:
    """The averaged weights of the epoch with the lowest validation loss, and the validation loss of each epoch."""
    torch.manual_seed(seed)
    network, average = Network(shape), Network(shape)
    network.init_linear_terms(examples.linear_init)
    average.load_state_dict(network.state_dict())
    steps = config.epochs * math.ceil(int(examples.training.sum()) / config.batch)
    optimizer, schedule = _optimizer(network, config, steps)
    best, best_weights, best_epoch = math.inf, average.state_dict(), 0
    rng, curve = np.random.default_rng(seed), []
    for epoch in range(1, config.epochs + 1):
        _train_epoch(network, average, _batches(examples, config, rng), optimizer, schedule, config)
        curve.append(_validation_loss(average, examples))
        if curve[-1] < best:
            best, best_epoch = curve[-1], epoch
            best_weights = {name: value.clone() for name, value in average.state_dict().items()}
        elif epoch - best_epoch >= config.patience:
            break
    average.load_state_dict(best_weights)
    average.requires_grad_(requires_grad=False)
    return average.eval(), curve


def _optimizer(network: Network, config: OptimizerConfig, steps: int) -> tuple[AdamW, OneCycleLR]:
    """The linear terms are fitted beforehand: they get a low learning rate and no weight decay."""
    linear_terms = [network.lines.weight, network.base]
    other_weights = [each for each in network.parameters() if all(each is not line for line in linear_terms)]
    optimizer = AdamW(
        [
            {"params": linear_terms, "lr": config.linear_rate, "weight_decay": 0.0},
            {"params": other_weights, "lr": config.learning_rate},
        ],
        weight_decay=config.weight_decay,
    )
    schedule = OneCycleLR(
        optimizer, [config.linear_rate, config.learning_rate], total_steps=max(steps, MIN_STEPS), pct_start=0.25
    )
    return optimizer, schedule


def _train_epoch(
    network: Network,
    average: Network,
    batches: Iterator[tuple[NetworkBatch, Targets]],
    optimizer: AdamW,
    schedule: OneCycleLR,
    config: OptimizerConfig,
) -> None:
    """Trains for one epoch."""
    network.train()
    for batch, targets in batches:
        loss = loss_of(network(batch), *_target_tensors(targets), batch.occupied)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), 1 - config.average)


def _batches(
    examples: Examples, config: OptimizerConfig, rng: np.random.Generator
) -> Iterator[tuple[NetworkBatch, Targets]]:
    """Every training event once, in random order, as its card alone or, if it was observed, as observed."""
    order = rng.permutation(np.flatnonzero(examples.training))
    as_card = (rng.random(len(order)) < config.card_share) | ~examples.observed[order]
    for start in range(0, len(order), config.batch):
        rows, cards = order[start : start + config.batch], as_card[start : start + config.batch]
        yield batch_of(_mix_states(examples, rows, cards)), examples.targets[rows]


def _mix_states(examples: Examples, rows: Ints, cards: Bools) -> Inputs:
    """The inputs of these events, each in its state."""
    card, observed = examples.inputs["card"], examples.inputs["observation"]
    inputs = observed[rows]
    for each in fields(inputs):
        getattr(inputs, each.name)[cards] = getattr(card, each.name)[rows[cards]]
    return inputs


def _target_tensors(targets: Targets) -> tuple[Tensor, Tensor, Tensor]:
    return torch.from_numpy(targets.places), torch.from_numpy(targets.trend), torch.from_numpy(targets.behaviour)


def _validation_loss(network: Network, examples: Examples) -> float:
    """Loss of all heads on the validation events that were observed; on the cards of all if none was."""
    losses = []
    for state in STATES:
        rows = np.flatnonzero(examples.validation & (examples.observed if state == "observation" else True))
        if len(rows):
            inputs = examples.inputs[state][rows]
            targets = _target_tensors(examples.targets[rows])
            losses.append(float(loss_of(logits_of(network, inputs), *targets, torch.from_numpy(inputs.occupied))))
    return losses[-1] if losses else 0.0
