"""What a training is asked for, over REST, by the command and by a job; and what it runs with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

from pydantic import BaseModel, ConfigDict, Field

from services.predictor.learners.serial import Run, one_by_one

SEED = 7


class TrainingRequest(BaseModel):
    """What to learn from."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"seed": 7, "until": "2026-01-31", "validate_days": 31, "promote": True}, {}]},
    )

    seed: int = Field(
        default=SEED,
        ge=0,
        lt=2**31,
        strict=True,
        description="of everything that is drawn; the same one, the same model",
    )
    until: date | None = Field(default=None, description="days up to this one only; default: all that is loaded")
    validate_days: int | None = Field(
        default=None,
        ge=1,
        le=1000,
        strict=True,
        description="so many of the last days are not learned from, but measured on; default: a share of them",
    )
    promote: bool = Field(
        default=True, strict=True, description="bring it before the gate afterwards, and live if it passes"
    )


@dataclass(frozen=True)
class TrainingContext:
    """Where a training reports what it does and how far it is (0 to 1), and the executor of its independent fits."""

    log: Callable[[str], None]
    progress: Callable[[float], None] = lambda _: None
    executor: Run = one_by_one
