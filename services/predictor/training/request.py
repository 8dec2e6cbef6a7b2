"""The request for a training, as sent over REST, by the command and to a job; and the context in which it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

from pydantic import BaseModel, ConfigDict, Field

from services.predictor.learners.serial import Executor, serial_executor

SEED = 7


class TrainingRequest(BaseModel):
    """What to train on."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"seed": 7, "until": "2026-01-31", "validate_days": 31, "promote": True}, {}]},
    )

    seed: int = Field(
        default=SEED, ge=0, lt=2**31, strict=True, description="random seed; the same seed and data give the same model"
    )
    until: date | None = Field(default=None, description="last day to use; default: the last day that is loaded")
    validate_days: int | None = Field(
        default=None,
        ge=1,
        le=1000,
        strict=True,
        description="number of last days held out for validation; default: a share of all days",
    )
    promote: bool = Field(
        default=True, strict=True, description="submit the model to the promotion gate; it goes live if it passes"
    )


@dataclass(frozen=True)
class TrainingContext:
    """Where a training reports its steps (`log`) and its progress (0 to 1), and the executor of its independent
    fits."""

    log: Callable[[str], None]
    progress: Callable[[float], None] = lambda _: None
    executor: Executor = serial_executor
