"""Serves the endpoints that redrive or discard dead letters."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request, Response

from shared.database.connection import DbConnection
from shared.ops.operations import NotPossible
from shared.ops.tables import dead_letters as dead_letters_table
from shared.ops.tables import operations as operations_table
from shared.ops.tables.dead_letters import REDRIVE
from shared.runtime.api.auth import ADMIN_ONLY
from shared.runtime.api.context import AdminContext
from shared.runtime.api.dead_letter_bodies import DeadLetterPlanBody, DiscardRequest, PartitionRange, RedriveRequest
from shared.runtime.api.idempotent_change import (
    ACCEPTED,
    ChangeResult,
    OperationBody,
    accepted,
    apply_change,
    caller_of,
)
from shared.runtime.api.operations import full_id
from shared.runtime.api.problems import responses
from shared.runtime.dead_letters.index import DeadLetterIndex
from shared.runtime.dead_letters.settlement import pin_selection, require_available, selection_of
from shared.topics import retry_topic

DISCARD = "discard"


def add_changes(context: AdminContext, router: APIRouter, index: DeadLetterIndex) -> None:
    options: dict[str, Any] = {
        "status_code": 202,
        "response_model": OperationBody,
        "responses": ACCEPTED
        | responses(409)
        | {200: {"model": DeadLetterPlanBody, "description": "The selection of a dry run"}},
    }

    @router.post("/redrives", summary="Redrive dead letters", **options)
    def redrive_dead_letters(body: RedriveRequest, request: Request) -> Response:
        """Sends each selected open letter once to the service's own retry topic. Runs as a job that can be cancelled.

        409: no letter is selected, another redrive holds some of them, or the plan can no longer be executed.
        """
        _refresh(context, index)
        target = _target(body) if body.plan_id is None else f"plan {full_id(body.plan_id)}"
        return apply_change(
            context, request, REDRIVE, target, lambda connection: _redrive(connection, context, index, body, request)
        )

    @router.post("/discards", summary="Discard dead letters", **options, **ADMIN_ONLY)
    def discard_dead_letters(body: DiscardRequest, request: Request) -> Response:
        """Marks the selected open letters as discarded. 409: no letter is selected, or a redrive holds some of them."""
        _refresh(context, index)
        return apply_change(
            context,
            request,
            DISCARD,
            _target(body),
            lambda connection: _discard(connection, context, index, body, request),
        )


def _redrive(
    connection: DbConnection, context: AdminContext, index: DeadLetterIndex, body: RedriveRequest, request: Request
) -> ChangeResult:
    if retry_topic(context.service) not in context.pausable_topics:
        raise NotPossible(
            f"dead letters of the {context.service} are parts of documents, not records:"
            " fetch their windows again instead (`headrace backfill`)"
        )
    dead_letters_table.lock(connection, context.service)
    plan_id = None if body.plan_id is None else full_id(body.plan_id)
    if plan_id is None:
        planned_counts = None
        selection = selection_of(index, body.places(), body.to_filter(), force=body.force)
    else:
        selection, planned_counts = dead_letters_table.load_plan(connection, context.service, plan_id)
        require_available(index, selection)
    choice = pin_selection(connection, context.service, index, selection)
    if body.dry_run:
        plan_id = dead_letters_table.store_plan(connection, context.service, choice.selection, choice.counts)
        return _dry_run_result(choice.counts, choice.selection.spans, plan_id)
    if planned_counts is not None and len(choice.selected) != planned_counts["selected"]:
        raise NotPossible(
            f"the plan selected {planned_counts['selected']} dead letters, of which"
            f" {len(choice.selected)} are still open: make a new plan"
        )
    choice.require_selected()
    caller = caller_of(request)
    target = {**choice.selection.as_json(), "selected": len(choice.selected), "plan_id": plan_id}
    operation = operations_table.create(connection, context.service, REDRIVE, target, caller.subject, caller.request_id)
    return accepted(operation, after={"operation": operation.id, **choice.counts})


def _discard(
    connection: DbConnection, context: AdminContext, index: DeadLetterIndex, body: DiscardRequest, request: Request
) -> ChangeResult:
    dead_letters_table.lock(connection, context.service)
    selection = selection_of(index, body.places(), body.to_filter(), force=True)
    choice = pin_selection(connection, context.service, index, selection)
    if body.dry_run:
        return _dry_run_result(choice.counts, choice.selection.spans, None)
    choice.require_selected()
    caller = caller_of(request)
    target = {**choice.selection.as_json(), "selected": len(choice.selected), "reason": body.reason}
    created = operations_table.create(
        connection, context.service, DISCARD, target, caller.subject, caller.request_id, state="running"
    )
    places = [letter.place for letter in choice.selected]
    discarded = dead_letters_table.settle(
        connection, context.service, places, "discarded", created.id, caller.subject, body.reason
    )
    operations_table.finish(connection, created.id, "succeeded", counts={"discarded": discarded})
    operation = operations_table.get(connection, created.id)
    assert operation is not None  # noqa: S101  # just made
    return accepted(operation, after={"operation": operation.id, "reason": body.reason, **choice.counts})


def _dry_run_result(counts: dict[str, int], spans: Mapping[int, tuple[int, int]], plan_id: str | None) -> ChangeResult:
    pinned = [PartitionRange(partition=p, begin=begin, end=end) for p, (begin, end) in sorted(spans.items())]
    return ChangeResult(HTTPStatus.OK, DeadLetterPlanBody(plan_id=plan_id, counts=counts, partitions=pinned))


def _target(body: RedriveRequest | DiscardRequest) -> str:
    return f"{body.describe()}, dry run" if body.dry_run else body.describe()


def _refresh(context: AdminContext, index: DeadLetterIndex) -> None:
    with context.broker() as broker:
        index.refresh(broker)
