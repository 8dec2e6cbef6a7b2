"""How the agent learns, as settings, and what is told of its progress."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from services.predictor.policy.q_network import QNetwork


class Learning(BaseModel):
    """`payout_quantile`: in training a winner's payment counts up to this quantile of all: one long shot in a
    thousand would else outweigh the rest. `huber`: from this many spreads on, an error weighs by its size only.
    `chance`: share of played actions drawn evenly. `market_epochs`: of learning payments alone, before any return.
    `epochs`: of learning returns, at `rate`, a small one, for they are mostly noise. `market_weight`: of the payments'
    loss beside the returns'. `target_steps`: between copies to the target network. `average`: share of the running
    mean of weights that a step leaves as it was. `replay`: how transitions are drawn; part of the file format, for
    model.json of every policy names it.
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
class Progress:
    """One pass over history: mean TD loss (NaN while only payments are learned), mean loss of payments, and what
    `Watch` measured of the network then."""

    epoch: int
    td_loss: float
    market_loss: float
    measured: dict[str, float]


Watch = Callable[[QNetwork], dict[str, float]]
