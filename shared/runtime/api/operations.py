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
from shared.runtime.api.context import Desk
from shared.runtime.api.idempotent_change import ACCEPTED, OPERATION_EXAMPLE, Answer, OperationBody, accepted, carry_out
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


def full_id(given: str) -> str:
    return given.zfill(ID_DIGITS)


def found(connection: DbConnection, desk: Desk, operation_id: str, *, lock: bool = False) -> Operation:
    """An operation of this service. Raises HTTPException 404 if there is none with this id."""
    operation = operations_table.get(connection, full_id(operation_id), desk.service, lock=lock)
    if operation is None:
        raise HTTPException(
            HTTPStatus.NOT_FOUND,
            f"{desk.service} has no operation {full_id(operation_id)}; GET /v1/operations lists them",
        )
    return operation


def operation_page(
    desk: Desk, before: str | None, limit: int, kinds: Sequence[str] = (), states: Sequence[State] = ()
) -> OperationPage:
    """A page of this service's operations older than the id `before`. Empty `kinds` or `states` select all."""
    older = None if before is None else full_id(before)
    with desk.transaction() as connection:
        rows = operations_table.listing(
            connection, desk.service, kinds=kinds, states=states, before=older, limit=limit + 1
        )
    page, last = page_of(rows, limit)
    return OperationPage(
        operations=[OperationBody.model_validate(row) for row in page], next=None if last is None else last.id
    )


def router(desk: Desk) -> APIRouter:
    router = APIRouter(prefix="/operations", tags=["operations"])

    @router.get("", summary="List operations")
    def listing(kind: Kinds = None, state: States = None, before: Before = None, limit: Limit = 100) -> OperationPage:
        """Returns a page of this service's operations, the newest first."""
        return operation_page(desk, before, limit, kind or (), state or ())

    @router.get("/{operation_id}", summary="Get an operation", responses=responses(404))
    def one(operation_id: OperationId) -> OperationBody:
        """Returns its state, progress and counts, and what it waits for."""
        with desk.transaction() as connection:
            return OperationBody.model_validate(found(connection, desk, operation_id))

    _commands(desk, router)
    return router


def _commands(desk: Desk, router: APIRouter) -> None:
    def say(command: Command, operation_id: str, request: Request) -> Response:
        def work(connection: DbConnection) -> Answer:
            before = found(connection, desk, operation_id, lock=True)
            after = operations_table.command(connection, before, command)
            return accepted(
                after, {"state": before.state, "wanted": before.wanted}, {"state": after.state, "wanted": after.wanted}
            )

        return carry_out(desk, request, command, f"operation {full_id(operation_id)}", work)

    said: dict[str, Any] = {
        "status_code": 202,
        "response_model": OperationBody,
        "responses": ACCEPTED | responses(404, 409),
    }

    @router.post("/{operation_id}/cancel", summary="Cancel a job", **said)
    def cancel(operation_id: OperationId, request: Request) -> Response:
        """The job ends after its current unit; what it wrote stays. 409: it has ended or is not a job."""
        return say("cancel", operation_id, request)

    @router.post("/{operation_id}/pause", summary="Pause a job", **said)
    def pause(operation_id: OperationId, request: Request) -> Response:
        """The job stops after its current unit. 409: it has ended, is being cancelled or is not a job."""
        return say("pause", operation_id, request)

    @router.post("/{operation_id}/resume", summary="Resume a job", **said)
    def resume(operation_id: OperationId, request: Request) -> Response:
        """The job continues where it was paused. 409: it has ended, is being cancelled or is not a job."""
        return say("resume", operation_id, request)
