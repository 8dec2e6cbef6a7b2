"""Gradient boosting on realised returns, the strongest of the simple policies. Needs LightGBM, like every training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from services.predictor.data.events import Floats
from services.predictor.learners.boosting.fit import import_lightgbm
from services.predictor.policy.context import PolicyContext
from services.predictor.policy.environment import Episodes
from services.predictor.policy.transitions import clip_payouts

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
class BoostedPolicy:
    """`trees`: a lightgbm.Booster."""

    trees: Any

    def __call__(self, context: PolicyContext) -> Floats:
        worth = np.full(context.win.shape, -np.inf)
        if context.occupied.any():
            worth[context.occupied] = self.trees.predict(_columns(context)[context.occupied], num_threads=1)
        return worth


def fit_boosted_policy(
    context: PolicyContext, episodes: Episodes, payout_quantile: float, seed: int = 1
) -> BoostedPolicy:
    """Fits to stakes that count; a refunded stake says nothing about the return. Payouts are clipped as for the
    agent."""
    lightgbm = import_lightgbm()
    valid = episodes.valid
    data = lightgbm.Dataset(_columns(context)[valid], label=clip_payouts(episodes, payout_quantile).reward[valid])
    return BoostedPolicy(lightgbm.train({**SETTINGS, "seed": seed}, data, ROUNDS))


def _columns(context: PolicyContext) -> Floats:
    """(n, S, F + E + 1): features of the slot and of the event, and the slot index."""
    event = np.broadcast_to(context.event[:, None], (len(context), context.slots, context.event.shape[1]))
    slot = np.broadcast_to(np.arange(context.slots)[None, :, None], (len(context), context.slots, 1))
    return np.concatenate([context.slot, event, slot], axis=2).astype(np.float64)
