"""A season of settled events -> a trained network. No files, no clock; the same season and seed give the same weights.

The newest days are kept for validation, never a random choice: a model is asked about days it has not seen. The
loop itself is left to fit.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch

from services.predictor.calibrate import calibrate
from services.predictor.encoding import encoding_of, names_of
from services.predictor.facts import STATES, Floats, Season, State
from services.predictor.features import Bools, standardised, values_of
from services.predictor.fit import Lesson, fit, plan_for
from services.predictor.history import Ints
from services.predictor.measure import behaviour_loss, log_loss, top3_loss, trend_loss
from services.predictor.model import Network, Shape
from services.predictor.targets import targets_of, terciles_of
from services.predictor.trained import (
    Calibration,
    Description,
    Probabilities,
    logits_of,
    probabilities_of,
)
from shared.errors import ConfigError

# Fewer events than this say nothing: their validation part would be a handful.
LEAST_EVENTS = 100
VALIDATION_SHARE = 0.15


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
    network = fit(shape, lesson, (names.win_rate, names.top3_rate), plan_for(count), seed, log)
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


def _rows(lesson: Lesson, state: State) -> Ints:
    """Validation events that can be judged in this state."""
    usable = ~lesson.training & lesson.targets.has_winner
    return np.flatnonzero(usable & lesson.observed if state == "observation" else usable)


def _judge(network: Network, lesson: Lesson, win_rate: Floats) -> tuple[Calibration, dict[str, float]]:
    """Calibrate on the validation days, then report every head there against its base rate.

    The calibrated figures are fitted on the very events they are measured on (seven numbers); `_raw` is not.
    """
    rows = {state: found for state in STATES if len(found := _rows(lesson, state))}
    logits = {state: logits_of(network, lesson.features[state][found]) for state, found in rows.items()}
    winners = [torch.from_numpy(lesson.targets.winner[found]) for found in rows.values()]
    if not winners:
        return Calibration(temperature=1.0, slot_bias=(0.0,) * len(win_rate)), {"validation_events": 0.0}
    calibration = calibrate(torch.cat([found.result for found in logits.values()]), torch.cat(winners), 1 / len(rows))
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
