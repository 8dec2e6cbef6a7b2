"""Hyperparameters of the DQN agent, and the metrics of its training epochs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from services.predictor.policy.q_network import QNetwork


class DqnConfig(BaseModel):
    """`payout_quantile`: training clips winners' payouts at this quantile, because one long shot in a thousand would
    otherwise outweigh the rest. `huber`: number of standard deviations beyond which the loss of an error is linear.
    `chance`: share of played actions drawn at random. `market_epochs`: epochs on payouts alone, before any return.
    `epochs`: epochs on returns, at learning rate `rate`, a small one because returns are mostly noise.
    `market_weight`: weight of the payout loss relative to the TD loss. `target_steps`: steps between copies to the
    target network. `average`: decay of the running mean of weights. `replay`: how transitions are sampled; part of the
    file format, because the model.json of every policy contains it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = 1
    gamma: float = Field(default=0.9, ge=0.0, le=1.0)
    shaping: bool = True
    replay: Literal["uniform"] = "uniform"
    width: int = Field(default=48, ge=4)
    dropout: float = Field(default=0.2, ge=0.0, lt=1.0)
    market_epochs: int = Field(default=10, ge=0)
    epochs: int = Field(default=3, ge=1)
    batch: int = Field(default=1024, ge=1)
    market_batch: int = Field(default=256, ge=1)
    market_rate: float = Field(default=2e-3, gt=0.0)
    rate: float = Field(default=1e-4, gt=0.0)
    decay: float = Field(default=1e-2, ge=0.0)
    average: float = Field(default=0.995, ge=0.0, lt=1.0)
    huber: float = Field(default=5.0, gt=0.0)
    payout_quantile: float = Field(default=0.995, gt=0.0, le=1.0)
    chance: float = Field(default=0.3, ge=0.0, le=1.0)
    market_weight: float = Field(default=1.0, ge=0.0)
    target_steps: int = Field(default=200, ge=1)


@dataclass(frozen=True)
class EpochMetrics:
    """One pass over history: mean TD loss (NaN during payout pretraining), mean payout loss, and the metrics of the
    network after it."""

    epoch: int
    td_loss: float
    market_loss: float
    metrics: dict[str, float]


EvaluateNetwork = Callable[[QNetwork], dict[str, float]]
