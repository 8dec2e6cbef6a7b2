"""REST endpoints of the fetcher: windows, backfills and replays from the archive."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Annotated, Any, Literal, Self

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.config import JsonDict

from services.fetcher.archive.rebuild import Recapture
from services.fetcher.archive.replay import ArchiveReplayPlan, ArchiveReplayRequest, plan_replay
from services.fetcher.archive.retention import removed_windows
from services.fetcher.archive.store import DocumentArchive
from services.fetcher.planning.cursor import WindowStatus, status_of
from services.fetcher.planning.suspects import suspect_windows
from services.fetcher.planning.windows import FetchPlan, Window, last_final_day, window_of
from services.fetcher.postgres_backfills import BACKFILL
from services.fetcher.sources.declaration import Source
from shared.clock import Clock
from shared.database.connection import DbConnection
from shared.errors import ConfigError, HeadraceError
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
from shared.runtime.api.operations import Before, OperationPage, operation_page
from shared.runtime.api.paging import Limit
from shared.runtime.api.problems import responses
from shared.topics import FETCHER_CURSORS

# About eleven years. A longer backfill is taken for a typing error.
MAX_BACKFILL_DAYS = 4000
WindowStateName = Literal["live", "done", "suspect", "failed"]


BACKFILL_EXAMPLE: JsonDict = {"from": "2026-01-01", "to": "2026-01-31", "feeds": ["results"], "again": False}
WINDOW_EXAMPLE: JsonDict = {"feed": "results", "date": "2026-01-31", "state": "done", "attempts": 0, "error": None}
FirstDay = Annotated[date | None, Query(alias="from", description="first day", examples=["2026-01-01"])]
LastDay = Annotated[date | None, Query(alias="to", description="last day, inclusive", examples=["2026-01-31"])]
After = Annotated[
    str | None, Query(max_length=100, description="`next` of the previous page", examples=["2026-01-31/results"])
]
StateFilter = Annotated[WindowStateName | None, Query(description="only windows in this state", examples=["failed"])]


class WindowBody(BaseModel):
    """A window that was fetched at least once."""

    model_config = ConfigDict(json_schema_extra={"examples": [WINDOW_EXAMPLE]})

    feed: str
    date: date
    state: WindowStateName = Field(
        description="`live`: its day is not over; `done`; `suspect`: done, but its document has fewer events than"
        " another one of its day; `failed`: `error` has the cause, the fetch is retried"
    )
    attempts: int = Field(description="failed fetches in a row")
    error: str | None


class WindowPage(BaseModel):
    """A page of windows, ordered by date and feed. Pass `next` as `after` to get the following page."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"windows": [WINDOW_EXAMPLE], "next": None}]})

    windows: list[WindowBody]
    next: str | None


class BackfillRequest(BaseModel):
    """Days to fetch in addition to the fetcher's plan."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True, json_schema_extra={"examples": [BACKFILL_EXAMPLE]})

    from_date: date = Field(alias="from", description="first day, in the source's own time zone")
    to_date: date = Field(alias="to", description="last day, inclusive; the day must be over")
    feeds: list[str] | None = Field(
        default=None, min_length=1, max_length=50, description="default: all feeds of the source"
    )
    again: bool = Field(
        default=False, description="also fetch windows that are done; only changed events become records"
    )

    @model_validator(mode="after")
    def _check_days(self) -> Self:
        if self.to_date < self.from_date:
            raise ValueError(f"`to` ({self.to_date}) is before `from` ({self.from_date})")
        if (self.to_date - self.from_date).days >= MAX_BACKFILL_DAYS:
            raise ValueError(
                f"expected at most {MAX_BACKFILL_DAYS} days, got {(self.to_date - self.from_date).days + 1}"
            )
        return self


class FetcherApi:
    """Builds the router of the fetcher's endpoints."""

    def __init__(self, source: Source, plan: FetchPlan, clock: Clock, archive: DocumentArchive) -> None:
        self._source = source
        self._plan = plan
        self._clock = clock
        self._archive = archive

    def router(self, context: AdminContext) -> APIRouter:
        router = APIRouter(tags=["fetcher"])
        self._add_windows(context, router)
        self._add_backfills(context, router)
        self._add_replays(context, router)
        return router

    def _add_windows(self, context: AdminContext, router: APIRouter) -> None:
        @router.get("/windows", summary="List windows and their states")
        def list_windows(
            state: StateFilter = None,
            from_date: FirstDay = None,
            to_date: LastDay = None,
            after: After = None,
            limit: Limit = 100,
        ) -> WindowPage:
            """A window is one feed of one day. It is done, suspect, failed with a cause, or still polled live."""
            with context.broker() as broker:
                cursors = broker.cursors(FETCHER_CURSORS)
            statuses = {
                window: status_of(value)
                for key, value in cursors.items()
                if (window := window_of(key, self._source.name)) is not None
                and (from_date is None or window.date >= from_date)
                and (to_date is None or window.date <= to_date)
            }
            suspects = suspect_windows(statuses)
            bodies = [
                _window_body(window, statuses[window], window in suspects)
                for window in sorted(statuses, key=_page_key)
                if after is None or _page_key(window) > after
            ]
            page = [body for body in bodies if state is None or body.state == state]
            last = page[limit - 1] if len(page) > limit else None
            return WindowPage(windows=page[:limit], next=last and _page_key(Window(last.feed, last.date)))

    def _add_backfills(self, context: AdminContext, router: APIRouter) -> None:
        @router.get("/backfills", summary="List backfills, newest first")
        def list_backfills(before: Before = None, limit: Limit = 100) -> OperationPage:
            """Returns a page of operations of kind `backfill`."""
            return operation_page(context, before, limit, [BACKFILL])

        @router.post(
            "/backfills", status_code=202, summary="Fetch more days", response_model=OperationBody, responses=ACCEPTED
        )
        def start_backfill(body: BackfillRequest, request: Request) -> Response:
            """Fetches the windows after those of the plan and processes their documents like any other. Windows that
            are done are skipped unless `again` is true."""

            def work(connection: DbConnection) -> ChangeResult:
                return start_operation(connection, context, request, BACKFILL, self._backfill_target(body))

            return apply_change(
                context, request, BACKFILL, f"{self._source.name} {body.from_date} to {body.to_date}", work
            )

    def _add_replays(self, context: AdminContext, router: APIRouter) -> None:
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
            plan = capture_refusal(lambda: self._plan_replay(body))

            def work(connection: DbConnection) -> ChangeResult:
                if isinstance(plan, HeadraceError):
                    raise plan
                if body.dry_run:
                    return ChangeResult(200, plan)
                require_no_overlap(connection, context.service, plan.windows)
                return start_operation(connection, context, request, REPLAY, plan.model_dump(mode="json"))

            return apply_change(context, request, "replay", f"archive of {self._source.name}", work)

    def _plan_replay(self, request: ArchiveReplayRequest) -> ArchiveReplayPlan:
        lines = list(self._archive.documents())
        removed = removed_windows(self._archive.folder, self._source)
        return plan_replay(request, self._source, lines, Recapture(self._source, self._archive.read), removed)

    def _backfill_target(self, request: BackfillRequest) -> dict[str, Any]:
        """The target of the operation. Raises ConfigError for an unknown feed or a day that is not over."""
        feeds = self._source.feeds_of(request.feeds)
        last_day = last_final_day(self._clock.now(), self._source.zone, self._source.live.close_after_s)
        if not self._plan.recorded and request.to_date > last_day:
            raise ConfigError(
                f"{request.to_date} is not over: the last day with final documents is {last_day};"
                " set fetcher.follow to fetch the current day"
            )
        return {"source": self._source.name, **request.model_dump(mode="json", by_alias=True), "feeds": feeds}


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


def _page_key(window: Window) -> str:
    return f"{window.date.isoformat()}/{window.feed}"


def _window_body(window: Window, status: WindowStatus, is_suspect: bool) -> WindowBody:
    state = "suspect" if is_suspect else status.state
    return WindowBody(feed=window.feed, date=window.date, state=state, attempts=status.attempts, error=status.error)
