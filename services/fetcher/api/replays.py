"""REST endpoint that replays raw-events from the archive of documents."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter, Request, Response

from services.fetcher.archive.rebuild import Recapture
from services.fetcher.archive.replay import ArchiveReplayPlan, ArchiveReplayRequest, plan_replay
from services.fetcher.archive.retention import removed_windows
from services.fetcher.archive.store import DocumentArchive
from services.fetcher.sources.declaration import Source
from shared.database.connection import DbConnection
from shared.errors import HeadraceError
from shared.ops.operations import NotPossible
from shared.ops.tables.replays import REPLAY
from shared.runtime.api.context import AdminContext
from shared.runtime.api.idempotent_change import (
    ACCEPTED,
    ChangeResult,
    OperationBody,
    apply_change,
    capture_refusal,
    start_operation,
)
from shared.runtime.api.problems import responses


def add_replays(context: AdminContext, router: APIRouter, source: Source, archive: DocumentArchive) -> None:
    def plan_of(request: ArchiveReplayRequest) -> ArchiveReplayPlan:
        removed = removed_windows(archive.folder, source)
        return plan_replay(request, source, list(archive.documents()), Recapture(source, archive.read), removed)

    @router.post(
        "/replays",
        status_code=202,
        summary="Replay raw-events from the archive of documents",
        response_model=OperationBody,
        responses=ACCEPTED
        | responses(409)
        | {200: {"model": ArchiveReplayPlan, "description": "The plan of a dry run"}},
    )
    def start_archive_replay(body: ArchiveReplayRequest, request: Request) -> Response:
        """Appends the archived events of these days to raw-events again, even where the topic no longer has the
        records. They have the same event ids and bytes, and the replay's id as their revision. The replay is an
        operation of the fetcher. With `dry_run` nothing is appended; the response (200) is the plan.

        409: an open replay from the archive covers some of the same windows.
        """
        plan = capture_refusal(lambda: plan_of(body))

        def work(connection: DbConnection) -> ChangeResult:
            if isinstance(plan, HeadraceError):
                raise plan
            if body.dry_run:
                return ChangeResult(200, plan)
            require_no_overlap(connection, context.service, plan.windows)
            return start_operation(connection, context, request, REPLAY, plan.model_dump(mode="json"))

        return apply_change(context, request, "replay", f"archive of {source.name}", work)


def require_no_overlap(connection: DbConnection, service: str, windows: Sequence[str]) -> None:
    """Raises NotPossible if an open replay covers one of these windows.

    Takes an advisory lock until the transaction ends, so that a concurrent request cannot start one in between.
    """
    connection.execute("SELECT pg_advisory_xact_lock(hashtext('headrace replays'), hashtext(%s))", (service,))
    row = connection.execute(
        "SELECT id FROM ops.operations WHERE service = %s AND kind = %s AND finished_at IS NULL"
        " AND target -> 'windows' ?| %s ORDER BY id LIMIT 1",
        (service, REPLAY, list(windows)),
    ).fetchone()
    if row is not None:
        raise NotPossible(
            f"operation {row[0]} is an open replay of some of these windows: wait until it is done or cancel it"
        )
