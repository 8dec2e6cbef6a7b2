"""The loader's REST endpoints: start an export, list parked facts."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Self
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.config import JsonDict

from services.loader.postgres_export_orders import KIND, mark_days_outdated
from shared.database.connection import DbConnection
from shared.ops.operations import NotPossible
from shared.runtime.api.context import AdminContext
from shared.runtime.api.idempotent_change import ACCEPTED, ChangeResult, OperationBody, apply_change, start_operation
from shared.runtime.api.paging import Limit, page_of
from shared.runtime.api.problems import responses


class ExportRequest(BaseModel):
    """The days whose files to rewrite."""

    model_config = ConfigDict(
        extra="forbid",
        populate_by_name=True,
        json_schema_extra={"examples": [{"from": "2026-01-01", "to": "2026-01-31"}]},
    )

    from_date: date = Field(alias="from", description="first day, in the source's own calendar")
    to_date: date = Field(alias="to", description="last day, inclusive")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.to_date < self.from_date:
            raise ValueError(f"`to` ({self.to_date}) is before `from` ({self.from_date})")
        return self


PARKED_EXAMPLE: JsonDict = {
    "record_id": "0b0f5a3e-54b3-5f0e-9d0b-7a1d1f6c2b11",
    "event_key": "boatrace:2026-01-31:07:04",
    "kind": "settled",
    "reason": "event not listed yet",
    "place": "clean-events/3/1200",
    "parked_at": "2026-01-31T09:00:00Z",
}
After = Annotated[
    UUID | None, Query(description="`next` of the previous page", examples=["0b0f5a3e-54b3-5f0e-9d0b-7a1d1f6c2b11"])
]


class ParkedFact(BaseModel):
    """A fact or prediction whose event is not listed yet."""

    model_config = ConfigDict(json_schema_extra={"examples": [PARKED_EXAMPLE]})

    record_id: UUID
    event_key: str
    kind: str = Field(description="listed, observed, settled or prediction")
    reason: str
    place: str = Field(description="topic/partition/offset of its record")
    parked_at: datetime


class ParkedFactPage(BaseModel):
    """Oldest first. Pass `next` as `after` to get the next page."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"total": 1, "parked": [PARKED_EXAMPLE], "next": None}]})

    total: int
    parked: list[ParkedFact]
    next: UUID | None


def router(context: AdminContext, *, exporting: bool) -> APIRouter:
    """`exporting`: whether this loader writes daily files (setting `loader.exports`)."""
    router = APIRouter(tags=["loader"])

    @router.post(
        "/exports",
        status_code=202,
        summary="Rewrite the daily files of a range of days",
        response_model=OperationBody,
        responses=ACCEPTED | responses(409),
    )
    def start_export(body: ExportRequest, request: Request) -> Response:
        """Existing files are replaced. A day is written when all its events have ended, or when the day is over.

        409: exports are switched off in this loader.
        """

        def work(connection: DbConnection) -> ChangeResult:
            if not exporting:
                raise NotPossible("exports are switched off: set loader.exports to true and restart the loader")
            return start_operation(
                connection, context, request, KIND, mark_days_outdated(connection, body.from_date, body.to_date)
            )

        return apply_change(context, request, KIND, f"{body.from_date} to {body.to_date}", work)

    @router.get("/parked", summary="List records whose event is not listed yet")
    def list_parked_facts(after: After = None, limit: Limit = 100) -> ParkedFactPage:
        """A parked record is loaded in the transaction that lists its event."""
        with context.transaction() as connection:
            total = connection.execute("SELECT count(*) FROM facts.parked").fetchone()
            rows = connection.execute(
                "SELECT record_id, parent_key, kind, reason, topic || '/' || p || '/' || off, parked_at"
                " FROM facts.parked WHERE %(after)s::uuid IS NULL OR (parked_at, record_id) >"
                " (SELECT parked_at, record_id FROM facts.parked WHERE record_id = %(after)s)"
                " ORDER BY parked_at, record_id LIMIT %(limit)s",
                {"after": after, "limit": limit + 1},
            ).fetchall()
        names = ("record_id", "event_key", "kind", "reason", "place", "parked_at")
        page, last = page_of([ParkedFact(**dict(zip(names, row, strict=True))) for row in rows], limit)
        following = None if last is None else last.record_id
        return ParkedFactPage(total=int(total[0]) if total else 0, parked=list(page), next=following)

    return router
