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
from shared.runtime.api.context import Desk
from shared.runtime.api.dead_letter_bodies import Discard, Found, PinnedPartition, Redrive
from shared.runtime.api.idempotent_change import ACCEPTED, Answer, OperationBody, accepted, caller_of, carry_out
from shared.runtime.api.operations import full_id
from shared.runtime.api.problems import responses
from shared.runtime.dead_letters.index import DeadLetterIndex
from shared.runtime.dead_letters.settlement import choose, require_there, selection_of
from shared.topics import retry_topic

DISCARD = "discard"


def add_changes(desk: Desk, router: APIRouter, index: DeadLetterIndex) -> None:
    said: dict[str, Any] = {
        "status_code": 202,
        "response_model": OperationBody,
        "responses": ACCEPTED | responses(409) | {200: {"model": Found, "description": "The selection of a dry run"}},
    }

    @router.post("/redrives", summary="Redrive dead letters", **said)
    def redrive(wish: Redrive, request: Request) -> Response:
        """Sends each selected open letter once to the service's own retry topic. Runs as a job that can be cancelled.

        409: no letter is selected, another redrive holds some of them, or the plan can no longer be executed.
        """
        _refresh(desk, index)
        target = _target(wish) if wish.plan_id is None else f"plan {full_id(wish.plan_id)}"
        return carry_out(
            desk, request, REDRIVE, target, lambda connection: _redrive(connection, desk, index, wish, request)
        )

    @router.post("/discards", summary="Discard dead letters", **said)
    def discard(wish: Discard, request: Request) -> Response:
        """Marks the selected open letters as discarded. 409: no letter is selected, or a redrive holds some of them."""
        _refresh(desk, index)
        return carry_out(
            desk, request, DISCARD, _target(wish), lambda connection: _discard(connection, desk, index, wish, request)
        )


def _redrive(connection: DbConnection, desk: Desk, index: DeadLetterIndex, wish: Redrive, request: Request) -> Answer:
    if retry_topic(desk.service) not in desk.steers:
        raise NotPossible(
            f"dead letters of the {desk.service} are parts of documents, not records:"
            " fetch their windows again instead (`headrace backfill`)"
        )
    dead_letters_table.lock(connection, desk.service)
    plan_id = None if wish.plan_id is None else full_id(wish.plan_id)
    if plan_id is None:
        planned = None
        selection = selection_of(index, wish.places(), wish.wanted(), force=wish.force)
    else:
        selection, planned = dead_letters_table.kept_plan(connection, desk.service, plan_id)
        require_there(index, selection)
    choice = choose(connection, desk.service, index, selection)
    if wish.dry_run:
        plan_id = dead_letters_table.keep_plan(connection, desk.service, choice.selection, choice.counts)
        return _dry(choice.counts, choice.selection.spans, plan_id)
    if planned is not None and len(choice.selected) != planned["selected"]:
        raise NotPossible(
            f"the plan selected {planned['selected']} dead letters, of which"
            f" {len(choice.selected)} are still open: make a new plan"
        )
    choice.require_some()
    caller = caller_of(request)
    target = {**choice.selection.as_json(), "selected": len(choice.selected), "plan_id": plan_id}
    operation = operations_table.create(connection, desk.service, REDRIVE, target, caller.subject, caller.request_id)
    return accepted(operation, after={"operation": operation.id, **choice.counts})


def _discard(connection: DbConnection, desk: Desk, index: DeadLetterIndex, wish: Discard, request: Request) -> Answer:
    dead_letters_table.lock(connection, desk.service)
    selection = selection_of(index, wish.places(), wish.wanted(), force=True)
    choice = choose(connection, desk.service, index, selection)
    if wish.dry_run:
        return _dry(choice.counts, choice.selection.spans, None)
    choice.require_some()
    caller = caller_of(request)
    target = {**choice.selection.as_json(), "selected": len(choice.selected), "reason": wish.reason}
    created = operations_table.create(
        connection, desk.service, DISCARD, target, caller.subject, caller.request_id, state="running"
    )
    places = [letter.place for letter in choice.selected]
    discarded = dead_letters_table.settle(
        connection, desk.service, places, "discarded", created.id, caller.subject, wish.reason
    )
    operations_table.finish(connection, created.id, "succeeded", counts={"discarded": discarded})
    operation = operations_table.get(connection, created.id)
    assert operation is not None  # noqa: S101  # just made
    return accepted(operation, after={"operation": operation.id, "reason": wish.reason, **choice.counts})


def _dry(counts: dict[str, int], spans: Mapping[int, tuple[int, int]], plan_id: str | None) -> Answer:
    pinned = [PinnedPartition(partition=p, begin=begin, end=end) for p, (begin, end) in sorted(spans.items())]
    return Answer(HTTPStatus.OK, Found(plan_id=plan_id, counts=counts, partitions=pinned))


def _target(wish: Redrive | Discard) -> str:
    return f"{wish.said()}, dry run" if wish.dry_run else wish.said()


def _refresh(desk: Desk, index: DeadLetterIndex) -> None:
    with desk.broker() as broker:
        index.refresh(broker)
