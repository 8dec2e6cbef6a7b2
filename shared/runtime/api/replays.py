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
from shared.ops.replay_planning import plan, require_all
from shared.ops.replays import Plan, ReplayRequest
from shared.ops.tables import plans as plans_table
from shared.ops.tables import replays as replays_table
from shared.runtime.api.context import Desk
from shared.runtime.api.idempotent_change import (
    ACCEPTED,
    Answer,
    OperationBody,
    accepted,
    caller_of,
    carry_out,
    outcome,
)
from shared.runtime.api.operations import full_id
from shared.runtime.api.problems import responses


class NewReplay(ReplayRequest):
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


class PlanToExecute(BaseModel):
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


class PlanBody(BaseModel):
    """What a replay would do, as offset ranges. Executing the plan does exactly this or is refused."""

    model_config = ConfigDict(json_schema_extra={"examples": [PLAN_EXAMPLE]})

    plan_id: str
    expires_at: datetime = Field(description="when the plan expires")
    topic: str
    records: int = Field(description="total number of selected records")
    partitions: list[PlannedPartition]
    first: PlannedRecord | None = Field(description="selected record that was appended first")
    last: PlannedRecord | None = Field(description="selected record that was appended last")


def _which(body: object) -> str:
    named = body.keys() if isinstance(body, dict) else type(body).model_fields if isinstance(body, BaseModel) else ()
    return "plan" if "plan_id" in named else "new"


Wish = Annotated[
    Annotated[NewReplay, Tag("new")] | Annotated[PlanToExecute, Tag("plan")], Discriminator(_which), Body()
]


def router(desk: Desk) -> APIRouter:
    router = APIRouter(prefix="/replays", tags=["replays"])

    @router.post(
        "",
        status_code=HTTPStatus.ACCEPTED,
        summary="Replay records",
        response_model=OperationBody,
        responses=ACCEPTED | responses(409) | {200: {"model": PlanBody, "description": "The plan of a dry run"}},
    )
    def replay(wish: Wish, request: Request) -> Response:
        """Handles records of a topic again, beside live work and without moving live positions.

        With `dry_run`, the response (200) is a plan, kept for 48 hours, and nothing is replayed. With `plan_id`,
        exactly that plan is executed: records appended meanwhile are not replayed. A plan is executed once unless
        `again` is set. Without either, the replay is planned and started at once.

        409: retention has removed requested records (the detail names the earliest offsets), the plan was executed
        before, or an open replay may select the same records.
        """
        planned = outcome(lambda: _planned(desk, wish))
        caller = caller_of(request)

        def work(connection: DbConnection) -> Answer:
            if isinstance(planned, HeadraceError):
                raise planned
            if isinstance(wish, NewReplay) and wish.dry_run:
                return _dry(connection, desk.service, planned)
            plan_id, again = (None, False) if isinstance(wish, NewReplay) else (full_id(wish.plan_id), wish.again)
            return accepted(
                replays_table.start(
                    connection, desk.service, planned, caller.subject, caller.request_id, plan_id=plan_id, again=again
                )
            )

        return carry_out(desk, request, "replay", _target(wish), work)

    return router


def _planned(desk: Desk, wish: NewReplay | PlanToExecute) -> Plan:
    if isinstance(wish, NewReplay):
        asked = ReplayRequest.model_validate(wish.model_dump(by_alias=True, exclude={"dry_run"}))
        with desk.broker() as broker:
            return plan(broker, asked, desk.steers)
    with desk.transaction() as connection:
        kept = replays_table.kept_plan(connection, desk.service, full_id(wish.plan_id))
    with desk.broker() as broker:
        require_all(broker, kept)
    return kept


def _dry(connection: DbConnection, service: str, planned: Plan) -> Answer:
    plan_id = replays_table.keep_plan(connection, service, planned)
    body = PlanBody(
        plan_id=plan_id,
        expires_at=datetime.now(UTC) + timedelta(hours=plans_table.KEPT_H),
        topic=planned.request.topic,
        records=planned.selected,
        partitions=[
            PlannedPartition(partition=p, begin=span.begin, end=span.end, records=planned.counts[p])
            for p, span in sorted(planned.spans.items())
        ],
        first=None if planned.first is None else PlannedRecord.model_validate(planned.first),
        last=None if planned.last is None else PlannedRecord.model_validate(planned.last),
    )
    return Answer(HTTPStatus.OK, body, after={"plan": plan_id, "records": planned.selected})


def _target(wish: NewReplay | PlanToExecute) -> str:
    if isinstance(wish, PlanToExecute):
        return f"plan {full_id(wish.plan_id)}"
    return f"{wish.topic}, dry run" if wish.dry_run else wish.topic
