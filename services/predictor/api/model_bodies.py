"""Request and response bodies of the endpoints for models."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.config import JsonDict

from services.predictor.registry.gate import Verdict
from services.predictor.registry.states import ModelState, StateChange

Reason = Annotated[str, Field(min_length=1, max_length=1000, pattern=r"\S")]
_MODEL: JsonDict = {
    "version": "20260131-0a1b2c3d", "state": "shadow", "since": "2026-02-01T03:00:00Z", "first_day": "2025-01-01",
    "last_day": "2026-01-31", "events": 52000, "seed": 7,
    "metrics": {"observation_result": 1.151, "observation_result_base": 1.358}, "problem": None,
}  # fmt: skip
_CHANGE: JsonDict = {
    "at": "2026-02-01T03:00:00Z", "who": "token:night-shift", "version": "20260131-0a1b2c3d", "before": "candidate",
    "after": "shadow", "why": "to see how it does", "gate": None, "request": None,
}  # fmt: skip
_VERDICT: JsonDict = {
    "passed": True,
    "decided": True,
    "why": "20260131-0a1b2c3d is better than 20251231-4d5e6f70 on 1000 ...",
    "against": "20251231-4d5e6f70",
    "source": "stored predictions",
    "figures": {"events": 1000, "difference": -0.006, "difference_at_most": -0.002},
}


class ModelBody(BaseModel):
    """A model in the registry, in short."""

    model_config = ConfigDict(json_schema_extra={"examples": [_MODEL]})

    version: str = Field(description="last day of its data, and a hash of its contents")
    state: ModelState
    since: datetime | None = Field(description="when it entered this state; null: not recorded")
    first_day: str | None
    last_day: str | None = Field(description="last day of its data, validation included")
    events: int | None = Field(description="number of training events")
    seed: int | None
    metrics: dict[str, float] = Field(description="metrics on its validation days")
    problem: str | None = Field(
        description="why it cannot be used; null: no known problem. Weights are checked when loaded"
    )


class ModelDetail(ModelBody):
    """A model in the registry, with its description, history and pictures."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {**_MODEL, "description": {"profile": "boatrace"}, "history": [_CHANGE], "pictures": ["reliability"]}
            ]
        }
    )

    description: dict[str, Any] = Field(description="model.json: everything but the weights")
    history: list[StateChange] = Field(description="its changes of state, the oldest first")
    pictures: list[str] = Field(description="names for GET .../pictures/NAME.png")


class StateChangeRequest(BaseModel):
    """The reason of a change."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"reason": "to see how it does"}, {}]})

    reason: Reason | None = Field(default=None, description="stored with the change")


class PromotionRequest(StateChangeRequest):
    """The reason of a promotion, and whether the gate is skipped."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{}, {"force": True, "reason": "the live one reads a field that is gone"}]},
    )

    force: bool = Field(default=False, strict=True, description="promote without asking the gate; requires a reason")

    @model_validator(mode="after")
    def _require_reason(self) -> Self:
        if self.force and self.reason is None:
            raise ValueError("`force` requires a `reason`")
        return self


class StateChangeResult(BaseModel):
    """The model's state after a change, and the live model."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"version": "20260131-0a1b2c3d", "before": "shadow", "state": "live", "live": "20260131-0a1b2c3d",
                 "was_live": "20251231-4d5e6f70", "gate": _VERDICT}
            ]
        }
    )  # fmt: skip

    version: str
    before: ModelState | None
    state: ModelState | None = Field(description="null: the model is deleted")
    live: str | None
    was_live: str | None
    gate: Verdict | None = Field(description="the gate's verdict; null: the gate was not asked")
