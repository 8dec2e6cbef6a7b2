"""A season of settled events -> a trained network. No files, no clock; the same season and seed give the same weights.

The newest days are kept for validation, never a random choice: a model is asked about days it has not seen. Each
epoch shows every event once, as its card alone or as observed, so that one network learns both states.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from services.predictor.calibrate import calibrate
from services.predictor.encoding import encoding_of, names_of
from services.predictor.facts import STATES, Floats, Season, State
from services.predictor.features import Bools, Features, standardised, values_of
from services.predictor.history import Ints
from services.predictor.measure import behaviour_loss, log_loss, top3_loss, trend_loss
from services.predictor.model import Network, Shape, loss_of
from services.predictor.targets import Targets, targets_of, terciles_of
from services.predictor.trained import (
    Calibration,
    Description,
    Probabilities,
    logits_of,
    probabilities_of,
    tensors_of,
)
from shared.errors import ConfigError

# Fewer events than this say nothing: their validation part would be a handful.
LEAST_EVENTS = 100
VALIDATION_SHARE = 0.15
CARD_SHARE = 0.4
# The running mean of the weights forgets over about as many steps as an epoch of a small season has.
WEIGHT_AVERAGE = 0.98


@dataclass(frozen=True)
class Plan:
    """How long and how hard to train. `patience`: epochs without a better validation before it ends."""

    epochs: int = 16
    batch: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
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
    return Plan() if events < 12_000 else Plan(epochs=9, batch=256)


def train(season: Season, market: str, seed: int, log: Callable[[str], None]) -> tuple[Description, Network]:
    """Raises ConfigError where there is too little to learn from."""
    count = len(season.amounts)
    if count < LEAST_EVENTS:
        raise ConfigError(f"training needs at least {LEAST_EVENTS} settled events with their cards, found {count}")
    training = training_days(season)
    names = names_of(_part(season, training))
    terciles = terciles_of(season, training)
    raw = {state: values_of(season.cards, names, state) for state in STATES}
    encoding = encoding_of(names, raw["observation"].entry[training], raw["observation"].event[training])
    features = {state: standardised(values, encoding) for state, values in raw.items()}
    lesson = Lesson(features, raw["observation"].observed, targets_of(season, terciles, names.slots), training)
    shape = Shape(
        slots=names.slots,
        entry_features=len(encoding.entry_features),
        event_features=len(encoding.event_features),
        venues=len(names.venues),
    )
    network = _fit(shape, lesson, (names.win_rate, names.top3_rate), plan_for(count), seed, log)
    calibration, metrics = _judge(network, lesson, np.array(names.win_rate))
    description = Description(
        first_day=str(season.days.min()), last_day=str(season.days.max()), events=count, seed=seed, market=market,
        shape=shape, encoding=encoding, terciles=terciles, calibration=calibration, metrics=metrics,
    )  # fmt: skip
    return description, network


def training_days(season: Season) -> Bools:
    """(n,): True for the older days that train, False for the newest ones that validate."""
    days = np.sort(season.days.unique())
    first = days[max(1, math.floor(len(days) * (1 - VALIDATION_SHARE)))] if len(days) > 1 else None
    if first is None:
        raise ConfigError(f"training needs at least two days of settled events, found only {days[0]}")
    return np.asarray(season.days < first, dtype=np.bool_)


def _part(season: Season, rows: Bools) -> Season:
    """What names_of reads, of these events only; base rates must not know the validation days."""
    outcomes = season.outcomes[rows[season.outcomes["event"].to_numpy()]]
    return Season(season.cards, season.days[rows], outcomes, season.amounts[rows])


def _fit(
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
    optimizer = torch.optim.AdamW(network.parameters(), lr=plan.learning_rate, weight_decay=plan.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, plan.learning_rate, total_steps=steps, pct_start=0.25)
    best, best_weights, best_epoch = math.inf, average.state_dict(), 0
    rng = np.random.default_rng(seed)
    for epoch in range(1, plan.epochs + 1):
        network.train()
        for batch, targets in _batches(lesson, plan.batch, rng):
            loss = loss_of(network(*tensors_of(batch)), *_target_tensors(targets), torch.from_numpy(batch.taken))
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            _blend(average, network)
        found = _validation(average, lesson)
        log(f"epoch {epoch} of {plan.epochs}: validation log-loss {found:.4f}")
        if found < best:
            best, best_epoch = found, epoch
            best_weights = {name: value.clone() for name, value in average.state_dict().items()}
        elif epoch - best_epoch >= plan.patience:
            break
    average.load_state_dict(best_weights)
    return average


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


def _rows(lesson: Lesson, state: State) -> Ints:
    """Validation events that can be judged in this state."""
    usable = ~lesson.training & lesson.targets.has_winner
    return np.flatnonzero(usable & lesson.observed if state == "observation" else usable)


def _validation(network: Network, lesson: Lesson) -> float:
    """Log-loss of the winner over both states together, in nats."""
    losses: list[Floats] = []
    unchanged = Calibration(temperature=1.0, slot_bias=(0.0,) * lesson.targets.places.shape[1])
    for state in STATES:
        rows = _rows(lesson, state)
        if len(rows):
            win = probabilities_of(logits_of(network, lesson.features[state][rows]), unchanged).win
            losses.append(log_loss(win, lesson.targets.winner[rows]))
    return float(np.concatenate(losses).mean()) if losses else 0.0


def _judge(network: Network, lesson: Lesson, win_rate: Floats) -> tuple[Calibration, dict[str, float]]:
    """Calibrate on the validation days, then report every head there against its base rate.

    The calibrated figures are fitted on the very events they are measured on (seven numbers); `_raw` is not.
    """
    rows = {state: found for state in STATES if len(found := _rows(lesson, state))}
    logits = {state: logits_of(network, lesson.features[state][found]) for state, found in rows.items()}
    winners = [torch.from_numpy(lesson.targets.winner[found]) for found in rows.values()]
    if not winners:
        return Calibration(temperature=1.0, slot_bias=(0.0,) * len(win_rate)), {"validation_events": 0.0}
    calibration = calibrate(torch.cat([found.result for found in logits.values()]), torch.cat(winners))
    unchanged = Calibration(temperature=1.0, slot_bias=(0.0,) * len(win_rate))
    metrics = {"validation_events": float(max(map(len, rows.values())))}
    for state, found in rows.items():
        raw = probabilities_of(logits[state], unchanged).win
        metrics[f"{state}_result_raw"] = float(log_loss(raw, lesson.targets.winner[found]).mean())
        metrics |= _heads(state, probabilities_of(logits[state], calibration), lesson, found, win_rate)
    return calibration, metrics


def _heads(state: State, told: Probabilities, lesson: Lesson, rows: Ints, win_rate: Floats) -> dict[str, float]:
    targets, taken = lesson.targets[rows], lesson.features[state].taken[rows]
    before = lesson.targets[lesson.training]
    base = np.where(taken, win_rate, 0.0)
    base = base / base.sum(axis=1, keepdims=True)
    return {
        f"{state}_result": float(log_loss(told.win, targets.winner).mean()),
        f"{state}_result_base": float(log_loss(base, targets.winner).mean()),
        **{f"{state}_top3{name}": value for name, value in top3_loss(told.top3, targets, taken, before).items()},
        **{f"{state}_trend{name}": value for name, value in trend_loss(told.trend, targets, before).items()},
        **{
            f"{state}_behaviour{name}": value for name, value in behaviour_loss(told.behaviour, targets, before).items()
        },
    }
