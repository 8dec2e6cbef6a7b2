"""The predictor's own endpoints: models, trainings, charts, and the predictions of an event."""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, HTTPException
from fastapi import Path as InPath
from pydantic import BaseModel, ConfigDict, Field

from services.predictor.api.charts import router as charts_router
from services.predictor.api.model_changes import router as model_changes_router
from services.predictor.api.models import router as models_router
from services.predictor.api.trainings import router as trainings_router
from shared.runtime.api.context import AdminContext
from shared.runtime.api.problems import responses

EventKey = Annotated[str, InPath(max_length=200, examples=["boatrace:2026-01-31:07:04"])]


class ClassProbability(BaseModel):
    """The probability of one class of one head, from one prediction."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "slot": 1, "head": "result", "class": "win", "probability": 0.55, "state": "card",
                    "model_version": "20260131-0a1b2c3d", "as_of": "2026-01-31T00:00:00Z", "shadow": False,
                }
            ]
        },
        populate_by_name=True,
    )  # fmt: skip

    slot: int | None
    head: str
    label: str = Field(alias="class")
    probability: float
    model_version: str
    as_of: datetime
    state: str = Field(description="state of knowledge: card or observation")
    shadow: bool


def router(context: AdminContext, models: Path) -> APIRouter:
    """`models`: the registry's directory (services/predictor/registry/)."""
    router = APIRouter(tags=["predictor"])
    router.include_router(models_router(models))
    router.include_router(model_changes_router(context, models))
    router.include_router(trainings_router(context))
    router.include_router(charts_router(context, models))

    @router.get("/predictions/{event_key}", summary="List the predictions of an event", responses=responses(404))
    def list_predictions(event_key: EventKey) -> list[ClassProbability]:
        """Every class of every head, the newest prediction first.

        404: there is no prediction of the event, or no such event.
        """
        names = ("slot", "head", "class", "probability", "model_version", "as_of", "state", "shadow")
        with context.transaction() as connection:
            rows = connection.execute(
                f"SELECT {', '.join(names)} FROM analytics.predictions WHERE event_key = %s"
                " ORDER BY as_of DESC, state, head, slot, class",
                (event_key,),
            ).fetchall()
        if not rows:
            raise HTTPException(HTTPStatus.NOT_FOUND, f"there is no prediction of {event_key!r}; check the key")
        return [ClassProbability(**dict(zip(names, row, strict=True))) for row in rows]

    return router
