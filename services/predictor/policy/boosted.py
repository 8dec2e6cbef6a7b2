"""Gradient boosting on realised returns, the strongest of the simple policies. Needs LightGBM, like every training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from services.predictor.data.events import Floats
from services.predictor.learners.boosting.fit import loaded_lightgbm
from services.predictor.policy.context import Scene
from services.predictor.policy.environment import Episodes
from services.predictor.policy.transitions import clipped

ROUNDS = 120
SETTINGS = {
    "objective": "regression",
    "num_leaves": 15,
    "learning_rate": 0.04,
    "min_data_in_leaf": 400,
    "feature_fraction": 0.3,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "lambda_l2": 20.0,
    "max_bin": 127,
    "num_threads": 1,
    "deterministic": True,
    "force_col_wise": True,
    "verbose": -1,
}


@dataclass(frozen=True)
class Boosted:
    """`trees`: a lightgbm.Booster."""

    trees: Any

    def __call__(self, scene: Scene) -> Floats:
        worth = np.full(scene.win.shape, -np.inf)
        if scene.taken.any():
            worth[scene.taken] = self.trees.predict(_columns(scene)[scene.taken], num_threads=1)
        return worth


def boosted_return(scene: Scene, episodes: Episodes, payout_quantile: float, seed: int = 1) -> Boosted:
    """Fits to stakes that count; a refunded stake says nothing about the return. Payouts are clipped as for the
    agent."""
    lightgbm = loaded_lightgbm()
    stood = episodes.counts
    data = lightgbm.Dataset(_columns(scene)[stood], label=clipped(episodes, payout_quantile).reward[stood])
    return Boosted(lightgbm.train({**SETTINGS, "seed": seed}, data, ROUNDS))


def _columns(scene: Scene) -> Floats:
    """(n, S, F + E + 1): features of the slot and of the event, and the slot index."""
    event = np.broadcast_to(scene.event[:, None], (len(scene), scene.slots, scene.event.shape[1]))
    slot = np.broadcast_to(np.arange(scene.slots)[None, :, None], (len(scene), scene.slots, 1))
    return np.concatenate([scene.slot, event, slot], axis=2).astype(np.float64)
