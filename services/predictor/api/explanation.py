"""GET /predictions/{event_key}/explanation: explains the live model's prediction of an event."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, HTTPException, Query
from pydantic import BaseModel, ConfigDict, Field

from services.predictor.api.router import EventKey
from services.predictor.data.events import State
from services.predictor.data.instants import instant_of
from services.predictor.serving.explanation import Explanation, PastStart, SlotExplanation
from shared.database.connection import DbConnection
from shared.runtime.api.context import AdminContext
from shared.runtime.api.problems import responses

StateQuery = Annotated[State, Query(description="state of knowledge: card or observation", examples=["card"])]
Explain = Callable[[str, State], Explanation | None]
"""Raises TransientError while the models or the facts are unavailable; None: there is nothing to explain."""

# The event of an entity whose result became known at an instant.
_EVENTS = """
SELECT t.entity_key, e.settled_at, e.event_key FROM analytics.entries t JOIN analytics.events e USING (event_key)
WHERE t.entity_key = ANY(%(entities)s) AND e.settled_at = ANY(%(settled)s)
"""


class WeightedStart(BaseModel):
    """A past start of an entry, with its weight in the prediction."""

    weight: float = Field(description="weight in the prediction; the weights of an entry's past starts sum to 1")
    settled_at: datetime = Field(description="when its result became known")
    venue: int
    course: int
    event_key: str | None = Field(default=None, description="null: the event is not in the tables")


class ExplainedSlot(BaseModel):
    """The explanation of one entry."""

    slot: int
    entity_key: str | None
    win: float = Field(description="P(win)")
    win_without: dict[str, float] = Field(
        description="P(win) with one group of features unknown: card, observation or history"
    )
    past_starts: list[WeightedStart] = Field(description="the highest weight first")


class ExplanationBody(BaseModel):
    """The weights of past starts, and the effect of each group of features."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "event_key": "boatrace:2026-01-31:07:04", "state": "card", "model_version": "20260131-0a1b2c3d",
                    "as_of": "2026-01-31T00:00:00Z",
                    "slots": [
                        {
                            "slot": 1, "entity_key": "boatrace:4444", "win": 0.55,
                            "win_without": {"card": 0.5, "observation": 0.55, "history": 0.48},
                            "past_starts": [
                                {
                                    "weight": 0.2, "settled_at": "2026-01-30T06:00:00Z", "venue": 7, "course": 1,
                                    "event_key": "boatrace:2026-01-30:07:09",
                                }
                            ],
                        }
                    ],
                }
            ]
        }
    )  # fmt: skip

    event_key: str
    state: str
    model_version: str
    as_of: datetime
    slots: list[ExplainedSlot]


def router(context: AdminContext, explain: Explain) -> APIRouter:
    router = APIRouter(tags=["predictor"])

    @router.get(
        "/predictions/{event_key}/explanation",
        summary="Explain a prediction of the live model",
        responses=responses(404, 503),
    )
    def get_prediction_explanation(event_key: EventKey, state: StateQuery = "card") -> ExplanationBody:
        """Predicts again, from what was known then. Features left out of an ablation are unknown to the model, not
        zero. The differences need not add up.

        404: no model is live, the event does not exist, or it was not known in this state.
        """
        result = explain(event_key, state)
        if result is None:
            raise HTTPException(
                HTTPStatus.NOT_FOUND,
                f"no explanation of {event_key!r}: no model is live, or the event is not known in state {state!r};"
                " check them with GET /v1/models and /v1/predictions/EVENT-KEY",
            )
        with context.transaction() as connection:
            event_keys = _event_keys(connection, result.slots)
        return _body(result, event_keys)

    return router


def _event_keys(connection: DbConnection, slots: Sequence[SlotExplanation]) -> dict[tuple[str, datetime], str]:
    parameters = {
        "entities": [each.entity for each in slots if each.entity],
        "settled": [instant_of(start.settled_us) for each in slots for start in each.past],
    }
    rows = connection.execute(_EVENTS, parameters).fetchall()
    return {(entity, settled_at): key for entity, settled_at, key in rows}


def _body(explanation: Explanation, event_keys: Mapping[tuple[str, datetime], str]) -> ExplanationBody:
    return ExplanationBody(
        event_key=explanation.event_key,
        state=explanation.state,
        model_version=explanation.model_version,
        as_of=instant_of(explanation.as_of_us),
        slots=[
            ExplainedSlot(
                slot=each.slot,
                entity_key=each.entity,
                win=each.win,
                win_without={str(group): value for group, value in each.without.items()},
                past_starts=[_weighted_start(start, each.entity, event_keys) for start in each.past],
            )
            for each in explanation.slots
        ],
    )


def _weighted_start(
    start: PastStart, entity: str | None, event_keys: Mapping[tuple[str, datetime], str]
) -> WeightedStart:
    settled_at = instant_of(start.settled_us)
    return WeightedStart(
        weight=start.weight,
        settled_at=settled_at,
        venue=start.venue,
        course=start.course,
        event_key=None if entity is None else event_keys.get((entity, settled_at)),
    )
