"""The notifier's REST endpoints about incidents: list and acknowledge alerts about the pipeline."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict
from starlette.exceptions import HTTPException

from services.notifier.alerts.conditions import Severity
from services.notifier.alerts.incidents import Incident, IncidentState
from services.notifier.alerts.postgres_incidents import acknowledge_incident as store_acknowledgement
from services.notifier.alerts.postgres_incidents import list_incidents as read_incidents
from services.notifier.alerts.text import rendering_of
from services.notifier.kinds import PipelineKind
from services.notifier.rules.rule_book import RuleBook
from services.notifier.texts.message import plain_text
from shared.database.connection import DbConnection
from shared.runtime.api.context import AdminContext
from shared.runtime.api.idempotent_change import ChangeResult, apply_change, caller_of
from shared.runtime.api.paging import Limit, page_of
from shared.runtime.api.problems import responses

ACTION = "acknowledge"

INCIDENT_EXAMPLE: JsonDict = {
    "id": 12, "rule": "stage-down", "kind": "stage-down", "subject": "loader", "severity": "critical", "state": "open",
    "text": "Stage down · loader · 0 of 1 replicas work.", "opened_at": "2026-01-31T09:00:00Z",
    "last_seen_at": "2026-01-31T09:05:00Z", "detail": {"replicas": 0, "needed": 1}, "acknowledged_at": None,
    "acknowledged_by": None, "resolved_at": None,
}  # fmt: skip
InStates = Annotated[
    list[IncidentState] | None,
    Query(max_length=3, description="only incidents in one of these states", examples=[["open", "acknowledged"]]),
]
BeforeIncident = Annotated[int | None, Query(ge=1, le=2**62, description="`next` of the previous page", examples=[12])]
IncidentId = Annotated[int, Path(ge=1, le=2**62, description="id of the incident", examples=[12])]


class IncidentBody(BaseModel):
    """An alert about the pipeline, from its opening to its end."""

    model_config = ConfigDict(json_schema_extra={"examples": [INCIDENT_EXAMPLE]})

    id: int
    rule: str = Field(description="name of the rule whose condition became true")
    kind: PipelineKind
    subject: str = Field(description="what is concerned: a service, SERVICE/TOPIC, a model ...")
    severity: Severity
    state: IncidentState = Field(description="resolved: the condition was absent for some time")
    text: str = Field(description="the message as plain text, with its present values")
    opened_at: datetime
    last_seen_at: datetime = Field(description="when the condition was last true")
    detail: dict[str, Any] = Field(description="values that depend on the kind")
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    resolved_at: datetime | None


class IncidentPage(BaseModel):
    """Newest first. Pass `next` as `before` to get the next page."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"incidents": [INCIDENT_EXAMPLE], "next": None}]})

    incidents: list[IncidentBody]
    next: int | None


def router(context: AdminContext, book: Callable[[], RuleBook]) -> APIRouter:
    """`book` returns the current rules."""
    router = APIRouter(prefix="/incidents", tags=["alerts"])

    @router.get("", summary="List incidents")
    def list_incidents(state: InStates = None, before: BeforeIncident = None, limit: Limit = 100) -> IncidentPage:
        """Alerts about the pipeline: what is wrong, since when, and who has acknowledged it."""
        with context.transaction() as connection:
            rows = read_incidents(connection, state or (), before, limit + 1)
        page, last = page_of(rows, limit)
        return IncidentPage(incidents=[body_of(each, book()) for each in page], next=None if last is None else last.id)

    @router.post(
        "/{incident_id}/acknowledge",
        summary="Acknowledge an incident",
        response_model=IncidentBody,
        responses=responses(404, 409),
    )
    def acknowledge_incident(incident_id: IncidentId, request: Request) -> Response:
        """Tells the others that someone takes care of it. The incident ends when its condition does. The first
        acknowledgement counts; repeating it changes nothing."""

        def work(connection: DbConnection) -> ChangeResult:
            stored = store_acknowledgement(connection, incident_id, caller_of(request).subject, book())
            if stored is None:
                raise HTTPException(
                    HTTPStatus.NOT_FOUND, f"there is no incident {incident_id}; GET /v1/incidents lists them"
                )
            before, after = stored
            return ChangeResult(
                HTTPStatus.OK, body_of(after, book()), {}, {"state": before.state}, {"state": after.state}
            )

        return apply_change(context, request, ACTION, f"incident {incident_id}", work)

    return router


def body_of(incident: Incident, book: RuleBook) -> IncidentBody:
    values = {name: getattr(incident, name) for name in IncidentBody.model_fields if name != "text"}
    return IncidentBody(**values, text=plain_text(rendering_of(incident, book).text))
