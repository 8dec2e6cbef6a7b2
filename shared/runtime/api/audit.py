"""Serves the audit trail: who changed what, and the outcome."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from shared.ops.tables import audit as audit_table
from shared.runtime.api.context import AdminContext
from shared.runtime.api.paging import Limit, page_of

BeforeEntry = Annotated[
    int | None,
    Query(
        ge=1, le=2**63 - 1, description="return entries older than this id: `next` of the previous page", examples=[412]
    ),
]


_EXAMPLE: dict[str, Any] = {
    "id": 412, "at": "2026-01-31T09:00:00Z", "service": "cleaner", "who": "token:night-shift", "action": "pause",
    "target": "raw-events", "before": {"desired": "running"}, "after": {"desired": "paused"}, "outcome": "accepted",
    "request_id": "5f0c5a9e-7a43-4b0e-9a53-9f6a1f6a4a55",
}  # fmt: skip


class AuditEntry(BaseModel):
    """A change that a caller made or was refused."""

    model_config = ConfigDict(from_attributes=True, json_schema_extra={"examples": [_EXAMPLE]})

    id: int
    at: datetime
    service: str
    who: str = Field(description="the caller: token:NAME, or `file token` for the token in admin.token_file")
    action: str
    target: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    outcome: str = Field(description="`accepted`, or the reason of the refusal")
    request_id: str


class AuditPage(BaseModel):
    """A page of audit entries, the newest first."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"lines": [_EXAMPLE], "next": None}]})

    lines: list[AuditEntry]
    next: int | None = Field(description="`before` of the next page; null on the last page")


def router(context: AdminContext) -> APIRouter:
    router = APIRouter(prefix="/audit", tags=["audit"])

    @router.get("", summary="List audit entries")
    def list_audit_entries(before: BeforeEntry = None, limit: Limit = 100) -> AuditPage:
        """Returns every change and every refusal at this service, the newest first. Entries cannot be altered."""
        with context.transaction() as connection:
            rows = audit_table.list_entries(connection, context.service, before_id=before, limit=limit + 1)
        page, last = page_of([AuditEntry.model_validate(row) for row in rows], limit)
        return AuditPage(lines=list(page), next=None if last is None else last.id)

    return router
