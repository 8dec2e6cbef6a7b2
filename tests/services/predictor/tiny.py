"""Trainings that take a second or two, of made-up seasons."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from services.predictor.data.events import EventFacts, Events
from services.predictor.data.profile import Profile
from services.predictor.data.split import split_of
from services.predictor.learners.boosting.fit import BoostingOptions
from services.predictor.learners.network.fit import Plan
from services.predictor.learners.processes import side_by_side
from services.predictor.learners.serial import Run, one_by_one
from services.predictor.policy.hyperparameters import Learning
from services.predictor.training.dataset import ground_of
from services.predictor.training.hyperparameters import Training
from services.predictor.training.request import TrainingContext
from services.predictor.training.train import Made, train
from tests.services.predictor.features.pond import POND, arrays, season

TINY = Training(
    networks=1,
    card_trees=1,
    observation_trees=1,
    top3_trees=1,
    width=16,
    dropout=0.1,
    network=Plan(epochs=2, batch=64, learning_rate=2e-3, average=0.9),
    boosting=BoostingOptions(leaves=4, least_rows_in_leaf=60, rate=0.1, most_trees=15, patience_trees=15),
    policy=None,
)
POLICY = Learning(market_epochs=1, epochs=1, batch=128, market_batch=128, width=8)
VALIDATE_DAYS = 3


def pond() -> list[EventFacts]:
    """Eleven days of some 36 settled events."""
    return season(11, seed=3)


def silent(_: str) -> None:
    pass


def trained(
    found: Sequence[EventFacts] | Events, profile: Profile = POND, *, training: Training = TINY, seed: int = 1,
    without: Sequence[str] = (), workers: int | None = None,
) -> Made:  # fmt: skip
    """`workers` None: in this process."""
    events = found if isinstance(found, Events) else arrays(found, profile)
    run: Run = one_by_one if workers is None else side_by_side(workers)
    split = split_of(events, VALIDATE_DAYS)
    return train(ground_of(events, profile, split, without), seed, TrainingContext(silent, executor=run), training)


def bits(made: Made) -> dict[str, bytes]:
    return {name: np.ascontiguousarray(tensor.numpy()).tobytes() for name, tensor in made.model.tensors().items()}
