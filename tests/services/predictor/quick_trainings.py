"""Trainings on synthetic seasons that take a second or two."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np

from services.predictor.data.events import EventFacts, Events
from services.predictor.data.profile import Profile
from services.predictor.data.split import split_of
from services.predictor.learners.boosting.fit import BoostingOptions
from services.predictor.learners.network.fit import OptimizerConfig
from services.predictor.learners.processes import process_executor
from services.predictor.learners.serial import Executor, serial_executor
from services.predictor.policy.hyperparameters import DqnConfig
from services.predictor.training.dataset import training_set_of
from services.predictor.training.hyperparameters import EnsembleConfig
from services.predictor.training.request import TrainingContext
from services.predictor.training.train import TrainingResult, train
from tests.services.predictor.features.irregular_source import SYNTHETIC, arrays, season

TINY = EnsembleConfig(
    networks=1,
    card_trees=1,
    observation_trees=1,
    top3_trees=1,
    width=16,
    dropout=0.1,
    network=OptimizerConfig(epochs=2, batch=64, learning_rate=2e-3, average=0.9),
    boosting=BoostingOptions(leaves=4, min_rows_in_leaf=60, rate=0.1, max_trees=15, patience_trees=15),
    policy=None,
)
POLICY = DqnConfig(market_epochs=1, epochs=1, batch=128, market_batch=128, width=8)
VALIDATE_DAYS = 3
FIRST = 25_000
LAST = FIRST + 10
CUT = LAST - VALIDATE_DAYS
"""Days of the season: the first, the last, and the last training day."""


def tiny_season() -> list[EventFacts]:
    """Eleven days of some 36 settled events."""
    return season(11, seed=3)


@cache
def tiny_result() -> TrainingResult:
    """Of a training on `tiny_season`."""
    return train_on(tiny_season())


def with_other_validation_days(facts: Sequence[EventFacts], seed: int = 4) -> list[EventFacts]:
    """The season with other cards, observations, amounts and timings on its validation days."""
    rng = np.random.default_rng(seed)
    return [
        event
        if event.day <= CUT
        else event._replace(
            venue=9,
            amount=float(rng.integers(1, 9)),
            grade=7.0,
            distance_m=3000.0,
            entries=[
                entry._replace(
                    measures={"points": 50 + rng.normal(), "new": 1.0},
                    categories={"class": "Z"},
                    timing_s=9.0,
                    observed={"lap_s": 60 + rng.normal(), "depth": 2.0},
                )
                for entry in event.entries
            ],
        )
        for event in facts
    ]


def discard_log(_: str) -> None:
    pass


def train_on(
    facts: Sequence[EventFacts] | Events,
    profile: Profile = SYNTHETIC,
    *,
    training: EnsembleConfig = TINY,
    seed: int = 1,
    without: Sequence[str] = (),
    workers: int | None = None,
) -> TrainingResult:
    """`workers` None: in this process."""
    events = facts if isinstance(facts, Events) else arrays(facts, profile)
    run: Executor = serial_executor if workers is None else process_executor(workers)
    split = split_of(events, VALIDATE_DAYS)
    return train(
        training_set_of(events, profile, split, without), seed, TrainingContext(discard_log, executor=run), training
    )


def bits(result: TrainingResult) -> dict[str, bytes]:
    return {name: np.ascontiguousarray(tensor.numpy()).tobytes() for name, tensor in result.model.tensors().items()}
