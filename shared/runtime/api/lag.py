"""How far behind the service is."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from shared.runtime.api.context import Desk


class Lag(BaseModel):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "topic": "raw-events", "partition": 0, "position": 3, "end": 5, "records": 2, "seconds": 0.7,
                    "exact": True, "ignored_group_offset": None,
                }
            ]
        }
    )  # fmt: skip

    topic: str
    partition: int
    position: int = Field(description="offset of the next record to handle, from where units advance it")
    end: int = Field(description="offset that the next appended record will get")
    records: int = Field(description="how many records wait; offsets that hold none are not counted")
    seconds: float | None = Field(description="age of the oldest record that waits; 0: none waits; null: not known yet")
    exact: bool = Field(description="false: there were too many to count, so `records` is an estimate")
    ignored_group_offset: int | None = Field(
        description="somebody set the group's offset on the broker to this; it has no effect, for the position lies in"
        " the database: use a replay instead"
    )


def router(desk: Desk) -> APIRouter:
    router = APIRouter(tags=["lag"])

    @router.get("/lag", summary="What waits to be handled")
    def lag() -> list[Lag]:
        """Per partition that the service reads, over all of its replicas."""
        return [Lag(**partition) for partition in desk.view.lag(thorough=True)]

    return router
