"""GET /predictions/{event_key}/explanation: why the live model says what it says of an event."""

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
from services.predictor.serving.explanation import Explanation, PastStart, SlotExplained
from shared.database.connection import DbConnection
from shared.runtime.api.context import Desk
from shared.runtime.api.problems import responses

InState = Annotated[State, Query(description="from which state of knowledge: card, or observation", examples=["card"])]
Explain = Callable[[str, State], Explanation | None]
"""Raises TransientError while the models or the facts are away; None: there is nothing to explain."""

# Which event an entity's result became known of at an instant.
_EVENTS = """
SELECT t.entity_key, e.settled_at, e.event_key FROM analytics.entries t JOIN analytics.events e USING (event_key)
WHERE t.entity_key = ANY(%(entities)s) AND e.settled_at = ANY(%(settled)s)
"""


class CountedStart(BaseModel):
    """A past start of the entry."""

    weight: float = Field(description="how much it counted; all past starts of the entry together: 1")
    settled_at: datetime = Field(description="when its result was known")
    venue: int
    course: int
    event_key: str | None = Field(default=None, description="where it is still in the tables")


class ExplainedSlot(BaseModel):
    """One entry."""

    slot: int
    entity_key: str | None
    win: float = Field(description="P(win)")
    win_without: dict[str, float] = Field(
        description="P(win) as if nothing of a group of features were known: card, observation, history"
    )
    past_starts: list[CountedStart] = Field(description="what counted most comes first")


class ExplanationBody(BaseModel):
    """Where the model looked, and what each group of features did."""

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


def router(desk: Desk, explain: Explain) -> APIRouter:
    router = APIRouter(tags=["predictor"])

    @router.get(
        "/predictions/{event_key}/explanation",
        summary="Why the live model says what it says of an event",
        responses=responses(404, 503),
    )
    def explanation(event_key: EventKey, state: InState = "card") -> ExplanationBody:
        """Made now, from what was known then. What is left out of an ablation is unknown to the model, not zero; the
        differences need not add up.

        404: no model is live, nobody knows the event, or it was not known in that state.
        """
        found = explain(event_key, state)
        if found is None:
            raise HTTPException(HTTPStatus.NOT_FOUND, f"there is nothing to explain of {event_key!r} from its {state}")
        with desk.transaction() as connection:
            names = _event_keys(connection, found.slots)
        return _body(found, names)

    return router


def _event_keys(connection: DbConnection, slots: Sequence[SlotExplained]) -> dict[tuple[str, datetime], str]:
    asked = {
        "entities": [each.entity for each in slots if each.entity],
        "settled": [instant_of(start.settled_us) for each in slots for start in each.past],
    }
    rows = connection.execute(_EVENTS, asked).fetchall()
    return {(entity, settled_at): key for entity, settled_at, key in rows}


def _body(found: Explanation, names: Mapping[tuple[str, datetime], str]) -> ExplanationBody:
    return ExplanationBody(
        event_key=found.event_key,
        state=found.state,
        model_version=found.model_version,
        as_of=instant_of(found.as_of_us),
        slots=[
            ExplainedSlot(
                slot=each.slot,
                entity_key=each.entity,
                win=each.win,
                win_without={str(group): value for group, value in each.without.items()},
                past_starts=[_start(start, each.entity, names) for start in each.past],
            )
            for each in found.slots
        ],
    )


def _start(start: PastStart, entity: str | None, names: Mapping[tuple[str, datetime], str]) -> CountedStart:
    settled_at = instant_of(start.settled_us)
    return CountedStart(
        weight=start.weight,
        settled_at=settled_at,
        venue=start.venue,
        course=start.course,
        event_key=None if entity is None else names.get((entity, settled_at)),
    )
