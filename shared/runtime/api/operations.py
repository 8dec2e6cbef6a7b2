"""Serves the endpoints that list operations and pause, resume or cancel jobs."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from shared.database.connection import DbConnection
from shared.ops.operations import Command, Operation, State
from shared.ops.tables import operations as operations_table
from shared.runtime.api.context import AdminContext
from shared.runtime.api.idempotent_change import (
    ACCEPTED,
    OPERATION_EXAMPLE,
    ChangeResult,
    OperationBody,
    accepted,
    apply_change,
)
from shared.runtime.api.paging import Limit, page_of
from shared.runtime.api.problems import responses

ID_DIGITS = 12
OperationId = Annotated[
    str, Path(pattern=r"^[0-9]{1,12}$", description="digits; leading zeros may be omitted", examples=["17"])
]
Before = Annotated[
    str | None,
    Query(
        pattern=r"^[0-9]{1,12}$",
        description="return operations older than this id: `next` of the previous page",
        examples=["17"],
    ),
]
Kinds = Annotated[list[str] | None, Query(max_length=20, description="return only these kinds", examples=[["replay"]])]
States = Annotated[
    list[State] | None,
    Query(max_length=20, description="return only operations in these states", examples=[["running"]]),
]


class OperationPage(BaseModel):
    """A page of operations, the newest first."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"operations": [OPERATION_EXAMPLE], "next": None}]})

    operations: list[OperationBody]
    next: str | None = Field(description="`before` of the next page; null on the last page")


def full_id(operation_id: str) -> str:
    return operation_id.zfill(ID_DIGITS)


def require_operation(
    connection: DbConnection, context: AdminContext, operation_id: str, *, lock: bool = False
) -> Operation:
    """An operation of this service. Raises HTTPException 404 if there is none with this id."""
    operation = operations_table.get(connection, full_id(operation_id), context.service, lock=lock)
    if operation is None:
        raise HTTPException(
            HTTPStatus.NOT_FOUND,
            f"{context.service} has no operation {full_id(operation_id)}; GET /v1/operations lists them",
        )
    return operation


def operation_page(
    context: AdminContext, before: str | None, limit: int, kinds: Sequence[str] = (), states: Sequence[State] = ()
) -> OperationPage:
    """A page of this service's operations older than the id `before`. Empty `kinds` or `states` select all."""
    older = None if before is None else full_id(before)
    with context.transaction() as connection:
        rows = operations_table.list_operations(
            connection, context.service, kinds=kinds, states=states, before=older, limit=limit + 1
        )
    page, last = page_of(rows, limit)
    return OperationPage(
        operations=[OperationBody.model_validate(row) for row in page], next=None if last is None else last.id
    )


def router(context: AdminContext) -> APIRouter:
    router = APIRouter(prefix="/operations", tags=["operations"])

    @router.get("", summary="List operations")
    def list_operations(
        kind: Kinds = None, state: States = None, before: Before = None, limit: Limit = 100
    ) -> OperationPage:
        """Returns a page of this service's operations, the newest first."""
        return operation_page(context, before, limit, kind or (), state or ())

    @router.get("/{operation_id}", summary="Get an operation", responses=responses(404))
    def get_operation(operation_id: OperationId) -> OperationBody:
        """Returns its state, progress and counts, and what it waits for."""
        with context.transaction() as connection:
            return OperationBody.model_validate(require_operation(connection, context, operation_id))

    _add_commands(context, router)
    return router


def _add_commands(context: AdminContext, router: APIRouter) -> None:
    def apply_command(command: Command, operation_id: str, request: Request) -> Response:
        def work(connection: DbConnection) -> ChangeResult:
            before = require_operation(connection, context, operation_id, lock=True)
            after = operations_table.apply_command(connection, before, command)
            return accepted(
                after, {"state": before.state, "wanted": before.wanted}, {"state": after.state, "wanted": after.wanted}
            )

        return apply_change(context, request, command, f"operation {full_id(operation_id)}", work)

    options: dict[str, Any] = {
        "status_code": 202,
        "response_model": OperationBody,
        "responses": ACCEPTED | responses(404, 409),
    }

    @router.post("/{operation_id}/cancel", summary="Cancel a job", **options)
    def cancel_operation(operation_id: OperationId, request: Request) -> Response:
        """The job ends after its current unit; what it wrote stays. 409: it has ended or is not a job."""
        return apply_command("cancel", operation_id, request)

    @router.post("/{operation_id}/pause", summary="Pause a job", **options)
    def pause_operation(operation_id: OperationId, request: Request) -> Response:
        """The job stops after its current unit. 409: it has ended, is being cancelled or is not a job."""
        return apply_command("pause", operation_id, request)

    @router.post("/{operation_id}/resume", summary="Resume a job", **options)
    def resume_operation(operation_id: OperationId, request: Request) -> Response:
        """The job continues where it was paused. 409: it has ended, is being cancelled or is not a job."""
        return apply_command("resume", operation_id, request)
