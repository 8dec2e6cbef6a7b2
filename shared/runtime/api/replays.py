"""Serves the endpoint that plans replays, executes plans, or does both at once.

A replay is an operation: operations.py shows its progress and pauses, resumes or cancels it.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Body, Request, Response
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from shared.database.connection import DbConnection
from shared.errors import HeadraceError
from shared.ops.replay_planning import plan_replay, require_plan_available
from shared.ops.replays import ReplayPlan, ReplayRequest
from shared.ops.tables import plans as plans_table
from shared.ops.tables import replays as replays_table
from shared.runtime.api.context import AdminContext
from shared.runtime.api.idempotent_change import (
    ACCEPTED,
    ChangeResult,
    OperationBody,
    accepted,
    apply_change,
    caller_of,
    capture_refusal,
)
from shared.runtime.api.operations import full_id
from shared.runtime.api.problems import responses


class StartReplayRequest(ReplayRequest):
    """Selects records to handle again."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"topic": "raw-events", "keys": ["boatrace:2026-01-31:*"], "dry_run": True},
                {"topic": "raw-events", "from": "2026-01-31T00:00:00Z", "to": "2026-02-01T00:00:00Z", "time": "event"},
                {"topic": "raw-events", "offsets": {"0": {"begin": 100, "end": 200}}, "rate": 500},
            ]
        }
    )

    dry_run: bool = Field(default=False, description="only plan: return what would be replayed")


class ExecutePlanRequest(BaseModel):
    """Executes the plan of a dry run unchanged."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"plan_id": "16"}]})

    plan_id: str = Field(
        pattern=r"^[0-9]{1,12}$", description="`plan_id` from the response of a dry run", examples=["16"]
    )
    again: bool = Field(default=False, description="execute the plan even if it was executed before")


class PlannedPartition(BaseModel):
    partition: int
    begin: int = Field(description="first offset")
    end: int = Field(description="end offset, exclusive")
    records: int = Field(description="number of selected records in the range")


class PlannedRecord(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    place: str = Field(description="topic/partition/offset")
    key: str
    appended_at: datetime


PLAN_EXAMPLE: dict[str, Any] = {
    "plan_id": "000000000016",
    "expires_at": "2026-02-02T09:00:00Z",
    "topic": "raw-events",
    "records": 100,
    "partitions": [{"partition": 0, "begin": 100, "end": 200, "records": 100}],
    "first": {"place": "raw-events/0/100", "key": "boatrace:2026-01-31:07:04", "appended_at": "2026-01-31T08:00:00Z"},
    "last": {"place": "raw-events/0/199", "key": "boatrace:2026-01-31:12:12", "appended_at": "2026-01-31T08:59:00Z"},
}


class ReplayPlanBody(BaseModel):
    """What a replay would do, as offset ranges. Executing the plan does exactly this or is refused."""

    model_config = ConfigDict(json_schema_extra={"examples": [PLAN_EXAMPLE]})

    plan_id: str
    expires_at: datetime = Field(description="when the plan expires")
    topic: str
    records: int = Field(description="total number of selected records")
    partitions: list[PlannedPartition]
    first: PlannedRecord | None = Field(description="selected record that was appended first")
    last: PlannedRecord | None = Field(description="selected record that was appended last")


def _request_tag(body: object) -> str:
    named = body.keys() if isinstance(body, dict) else type(body).model_fields if isinstance(body, BaseModel) else ()
    return "plan" if "plan_id" in named else "new"


ReplayBody = Annotated[
    Annotated[StartReplayRequest, Tag("new")] | Annotated[ExecutePlanRequest, Tag("plan")],
    Discriminator(_request_tag),
    Body(),
]


def router(context: AdminContext) -> APIRouter:
    router = APIRouter(prefix="/replays", tags=["replays"])

    @router.post(
        "",
        status_code=HTTPStatus.ACCEPTED,
        summary="Replay records",
        response_model=OperationBody,
        responses=ACCEPTED | responses(409) | {200: {"model": ReplayPlanBody, "description": "The plan of a dry run"}},
    )
    def start_replay(body: ReplayBody, request: Request) -> Response:
        """Handles records of a topic again, beside live work and without moving live positions.

        With `dry_run`, the response (200) is a plan, kept for 48 hours, and nothing is replayed. With `plan_id`,
        exactly that plan is executed: records appended meanwhile are not replayed. A plan is executed once unless
        `again` is set. Without either, the replay is planned and started at once.

        409: retention has removed requested records (the detail names the earliest offsets), the plan was executed
        before, or an open replay may select the same records.
        """
        planned = capture_refusal(lambda: _plan(context, body))
        caller = caller_of(request)

        def work(connection: DbConnection) -> ChangeResult:
            if isinstance(planned, HeadraceError):
                raise planned
            if isinstance(body, StartReplayRequest) and body.dry_run:
                return _dry_run_result(connection, context.service, planned)
            plan_id, again = (
                (None, False) if isinstance(body, StartReplayRequest) else (full_id(body.plan_id), body.again)
            )
            return accepted(
                replays_table.start(
                    connection,
                    context.service,
                    planned,
                    caller.subject,
                    caller.request_id,
                    plan_id=plan_id,
                    again=again,
                )
            )

        return apply_change(context, request, "replay", _target(body), work)

    return router


def _plan(context: AdminContext, body: StartReplayRequest | ExecutePlanRequest) -> ReplayPlan:
    if isinstance(body, StartReplayRequest):
        replay_request = ReplayRequest.model_validate(body.model_dump(by_alias=True, exclude={"dry_run"}))
        with context.broker() as broker:
            return plan_replay(broker, replay_request, context.pausable_topics)
    with context.transaction() as connection:
        stored_plan = replays_table.load_plan(connection, context.service, full_id(body.plan_id))
    with context.broker() as broker:
        require_plan_available(broker, stored_plan)
    return stored_plan


def _dry_run_result(connection: DbConnection, service: str, planned: ReplayPlan) -> ChangeResult:
    plan_id = replays_table.store_plan(connection, service, planned)
    body = ReplayPlanBody(
        plan_id=plan_id,
        expires_at=datetime.now(UTC) + timedelta(hours=plans_table.RETENTION_H),
        topic=planned.request.topic,
        records=planned.selected,
        partitions=[
            PlannedPartition(partition=p, begin=span.begin, end=span.end, records=planned.counts[p])
            for p, span in sorted(planned.spans.items())
        ],
        first=None if planned.first is None else PlannedRecord.model_validate(planned.first),
        last=None if planned.last is None else PlannedRecord.model_validate(planned.last),
    )
    return ChangeResult(HTTPStatus.OK, body, after={"plan": plan_id, "records": planned.selected})


def _target(body: StartReplayRequest | ExecutePlanRequest) -> str:
    if isinstance(body, ExecutePlanRequest):
        return f"plan {full_id(body.plan_id)}"
    return f"{body.topic}, dry run" if body.dry_run else body.topic
