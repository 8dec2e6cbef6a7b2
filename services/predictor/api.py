"""The predictor's own endpoints: its models, and what was predicted of an event."""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, HTTPException
from fastapi import Path as InPath
from pydantic import BaseModel, ConfigDict, Field

from shared.runtime.api.desk import Desk
from shared.runtime.api.problems import responses

EventKey = Annotated[str, InPath(max_length=200, examples=["boatrace:2026-01-31:07:04"])]


class Model(BaseModel):
    """A model in the registry."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"version": "20260131-0a1b2c3d", "live": True, "description": {}}]}
    )

    version: str
    live: bool = Field(description="whether predictions are made with it")
    description: dict[str, Any] = Field(description="what it was trained on, and how it did")


class Predicted(BaseModel):
    """One class of one head, as predicted at one moment."""

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
    state: str = Field(description="card, or observation")
    shadow: bool


def router(desk: Desk, models: Path) -> APIRouter:
    """`models`: the registry's directory (services/predictor/registry.py)."""
    router = APIRouter(tags=["predictor"])

    @router.get("/models", summary="Models in the registry, the newest data first")
    def all_models() -> list[Model]:
        """What each was trained on and how it did; one of them is live, or none."""
        live = _text(models / "LIVE")
        return [
            Model(version=version, live=version == live, description=description)
            for version, description in sorted(_described(models).items(), reverse=True)
        ]

    @router.get("/predictions/{event_key}", summary="What was predicted of an event", responses=responses(404))
    def predictions(event_key: EventKey) -> list[Predicted]:
        """Every class of every head, the newest prediction first.

        404: nothing was, or nobody knows the event.
        """
        names = ("slot", "head", "class", "probability", "model_version", "as_of", "state", "shadow")
        with desk.transaction() as connection:
            found = connection.execute(
                f"SELECT {', '.join(names)} FROM analytics.predictions WHERE event_key = %s"
                " ORDER BY as_of DESC, state, head, slot, class",
                (event_key,),
            ).fetchall()
        if not found:
            raise HTTPException(HTTPStatus.NOT_FOUND, f"nothing was predicted of {event_key!r}")
        return [Predicted(**dict(zip(names, row, strict=True))) for row in found]

    return router


def _described(models: Path) -> dict[str, dict[str, Any]]:
    """Descriptions only: whether the weights are whole is seen when a model is loaded."""
    found = {}
    for file in models.glob("*/model.json"):
        try:
            body = orjson.loads(file.read_bytes())
            found[str(body["version"])] = dict(body["description"])
        except (OSError, orjson.JSONDecodeError, KeyError, TypeError, ValueError):
            continue  # damaged, or just being written
    return found


def _text(file: Path) -> str | None:
    try:
        return file.read_text(errors="replace").strip()
    except OSError:
        return None
