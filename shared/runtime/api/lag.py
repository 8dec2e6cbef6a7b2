"""Serves the lag of the service: records that wait to be handled."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from shared.runtime.api.context import AdminContext


class PartitionLagBody(BaseModel):
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
    position: int = Field(description="offset of the next record to handle, as committed")
    end: int = Field(description="offset of the next record to be appended")
    records: int = Field(description="number of waiting records; offsets without a record are not counted")
    seconds: float | None = Field(description="age of the oldest waiting record; 0 if none waits; null if unknown")
    exact: bool = Field(description="false if there were too many to count: `records` is an estimate")
    ignored_group_offset: int | None = Field(
        description="an offset that was set for the group on the broker and has no effect, because the position is"
        " stored in the database; use a replay instead"
    )


def router(context: AdminContext) -> APIRouter:
    router = APIRouter(tags=["lag"])

    @router.get("/lag", summary="Get the lag")
    def get_lag() -> list[PartitionLagBody]:
        """Returns the lag of every partition that the service reads, across all replicas."""
        return [PartitionLagBody(**partition) for partition in context.view.lag(thorough=True)]

    return router
