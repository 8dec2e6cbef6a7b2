"""Applies changes idempotently: one transaction holds the idempotency key, the change and its audit entry.

    class ThingRequest(BaseModel):
        model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"days": 3}]})
        days: int = Field(ge=1, le=1000, description="number of days")

    @router.post(
        "", status_code=202, summary="Start a thing", response_model=OperationBody, responses=ACCEPTED | responses(409)
    )
    def start_thing(body: ThingRequest, request: Request) -> Response:
        '''What it does, for the OpenAPI document.'''
        def work(connection: DbConnection) -> ChangeResult:
            return start_operation(connection, context, request, "thing", body.model_dump(mode="json"))

        return apply_change(context, request, "thing", f"{body.days} days", work)

`work` may raise NotPossible (409), ConfigError (422), TransientError (503) or HTTPException: the transaction is rolled
back, the refusal is recorded in the audit trail, and the caller gets a problem. Do slow work (reading the log) before
calling `apply_change`, not in `work`, and open no second `context.transaction()` in it.
openapi.py documents 401, 403, 413, 415, 422, 500, 503, the security scheme and the Idempotency-Key for every endpoint;
add other statuses with `responses(...)`. The document shows the first of the `examples` of each body and response.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from typing import Any, TypeVar

from fastapi import Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from shared.database.connection import DbConnection
from shared.errors import HeadraceError
from shared.logs import mask_text
from shared.ops.idempotency import StoredResponse, digest_of
from shared.ops.operations import Operation, State, Wanted
from shared.ops.tables import audit as audit_table
from shared.ops.tables import idempotency as idempotency_table
from shared.ops.tables import operations as operations_table
from shared.runtime.api.auth import Caller
from shared.runtime.api.context import AdminContext
from shared.runtime.api.problems import status_and_detail

T = TypeVar("T")

KEY_HEADER = "Idempotency-Key"
REPLAYED_HEADER = "Idempotency-Replayed"


OPERATION_EXAMPLE: dict[str, Any] = {
    "id": "000000000017", "service": "cleaner", "kind": "pause", "state": "running", "wanted": "run",
    "target": {"orders": {"raw-events": 12}}, "counts": {}, "progress": 0.0, "left_s": None,
    "waiting_for": "not obeyed yet by host-0", "error": None, "requested_by": "token:night-shift",
    "request_id": "5f0c5a9e-7a43-4b0e-9a53-9f6a1f6a4a55", "created_at": "2026-01-31T09:00:00Z",
    "started_at": "2026-01-31T09:00:01Z", "updated_at": "2026-01-31T09:00:01Z", "finished_at": None,
}  # fmt: skip


class OperationBody(BaseModel):
    """An operation: work that outlasts the request that started it."""

    model_config = ConfigDict(from_attributes=True, json_schema_extra={"examples": [OPERATION_EXAMPLE]})

    id: str = Field(description="12 digits; requests may omit leading zeros")
    service: str
    kind: str = Field(description="pause, resume, replay, redrive, ...")
    state: State
    wanted: Wanted = Field(description="state that was last requested")
    target: dict[str, Any] = Field(description="parameters of the operation")
    counts: dict[str, Any] = Field(description="work done so far")
    progress: float = Field(description="from 0 to 1")
    left_s: float | None = Field(description="estimated remaining time of a running job, in seconds")
    waiting_for: str | None = Field(description="what it waits for, as text for people")
    error: str | None = Field(description="why it failed or was cancelled")
    requested_by: str
    request_id: str
    created_at: datetime | None
    started_at: datetime | None
    updated_at: datetime | None
    finished_at: datetime | None


ACCEPTED: dict[int | str, dict[str, Any]] = {
    202: {
        "description": "Accepted: poll the operation at Location",
        "headers": {
            "Location": {"description": "path of the operation", "schema": {"type": "string"}},
            "Retry-After": {"description": "seconds to wait before the first poll", "schema": {"type": "string"}},
        },
    }
}
"""`responses` of an endpoint that returns `accepted(...)`."""


@dataclass(frozen=True)
class ChangeResult:
    """The response to a change. `before` and `after` go into the audit trail."""

    status: int
    body: BaseModel
    headers: Mapping[str, str] = field(default_factory=dict)
    before: Mapping[str, Any] | None = None
    after: Mapping[str, Any] | None = None


def accepted(
    operation: Operation, before: Mapping[str, Any] | None = None, after: Mapping[str, Any] | None = None
) -> ChangeResult:
    """A 202 response with the operation's Location. The audit entry's `after` defaults to the operation's target."""
    audit_after = {"operation": operation.id, **operation.target} if after is None else after
    headers = {"Location": f"/v1/operations/{operation.id}", "Retry-After": "1"}
    return ChangeResult(HTTPStatus.ACCEPTED, OperationBody.model_validate(operation), headers, before, audit_after)


def start_operation(
    connection: DbConnection, context: AdminContext, request: Request, kind: str, target: Mapping[str, Any]
) -> ChangeResult:
    """Creates an operation of the service for the caller and returns its 202 response."""
    caller = caller_of(request)
    return accepted(
        operations_table.create(connection, context.service, kind, target, caller.subject, caller.request_id)
    )


def caller_of(request: Request) -> Caller:
    caller: Caller = request.state.caller
    return caller


def capture_refusal(make: Callable[[], T]) -> T | HeadraceError:
    """Returns the result of `make`, or the HeadraceError it raises, for `work` to raise later.

    A repeated request must get its stored response, and a refusal must be recorded; both happen in `apply_change`.
    """
    try:
        return make()
    except HeadraceError as error:
        return error


def apply_change(
    context: AdminContext, request: Request, action: str, target: str, work: Callable[[DbConnection], ChangeResult]
) -> Response:
    """Applies a change once and records it; the same request with the same key gets the stored response.

    Raises what `work` raises, after recording the refusal.
    """
    caller = caller_of(request)
    request.state.noted = True
    try:
        with context.transaction() as connection:
            return _apply_once(connection, context, request, caller, action, target, work)
    except (HeadraceError, HTTPException) as error:
        status, detail = status_and_detail(error)
        if status < HTTPStatus.INTERNAL_SERVER_ERROR:  # on 5xx the database is likely unavailable
            with context.transaction() as connection:
                audit_table.append(
                    connection, context.service, caller.subject, action, target,
                    outcome=f"refused ({status}): {mask_text(detail)}", request_id=caller.request_id,
                )  # fmt: skip
        raise


def _apply_once(
    connection: DbConnection,
    context: AdminContext,
    request: Request,
    caller: Caller,
    action: str,
    target: str,
    work: Callable[[DbConnection], ChangeResult],
) -> JSONResponse:
    key = request.headers.get(KEY_HEADER)
    digest = digest_of(request.method, str(request.url.path), request.url.query, request.state.body)
    if key is not None and (stored := _stored_response(connection, context.service, caller, key, digest)) is not None:
        return JSONResponse(stored.body, stored.status, {**stored.headers, REPLAYED_HEADER: "true"})
    answer = work(connection)
    body = answer.body.model_dump(mode="json")
    audit_table.append(
        connection, context.service, caller.subject, action, target, before=answer.before, after=answer.after,
        request_id=caller.request_id,
    )  # fmt: skip
    if key is not None:
        response = StoredResponse(digest, int(answer.status), dict(answer.headers), body)
        idempotency_table.store(connection, context.service, caller.subject, key, response)
    return JSONResponse(body, answer.status, dict(answer.headers))


def _stored_response(
    connection: DbConnection, service: str, caller: Caller, key: str, digest: bytes
) -> StoredResponse | None:
    if not idempotency_table.reserve(connection, service, caller.subject, key):
        raise HTTPException(
            HTTPStatus.CONFLICT,
            "the first request with this Idempotency-Key is still running; send it again in a moment",
            headers={"Retry-After": "1"},
        )
    stored = idempotency_table.find(connection, service, caller.subject, key)
    if stored is not None and stored.request_digest != digest:
        raise HTTPException(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "this Idempotency-Key was used for another request (method, path or body differ); choose a new key",
        )
    return stored
