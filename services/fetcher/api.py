"""REST endpoints of the fetcher: windows, backfills and replays from the archive."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Annotated, Any, Literal, Self

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.config import JsonDict

from services.fetcher.archive.rebuild import Retelling
from services.fetcher.archive.replay import ArchivePlan, ArchiveWish, planned
from services.fetcher.archive.store import DocumentArchive
from services.fetcher.planning.cursor import standing_of
from services.fetcher.planning.windows import Plan, Window, last_ended, window_of
from services.fetcher.postgres_backfills import KIND
from services.fetcher.sources.declaration import Source
from shared.clock import Clock
from shared.database.connection import DbConnection
from shared.errors import ConfigError, HeadraceError
from shared.ops.operations import NotPossible
from shared.ops.tables.replays import REPLAY
from shared.runtime.api.context import Desk
from shared.runtime.api.idempotent_change import ACCEPTED, Answer, OperationBody, begun, carry_out, outcome
from shared.runtime.api.operations import Before, OperationPage, operation_page
from shared.runtime.api.paging import Limit
from shared.runtime.api.problems import responses
from shared.topics import FETCHER_CURSORS

# About eleven years. A longer backfill is taken for a typing error.
MOST_DAYS = 4000
WindowState = Literal["live", "done", "failed"]


BACKFILL_EXAMPLE: JsonDict = {"from": "2026-01-01", "to": "2026-01-31", "feeds": ["results"], "again": False}
WINDOW_EXAMPLE: JsonDict = {"feed": "results", "date": "2026-01-31", "state": "done", "attempts": 0, "error": None}
FirstDay = Annotated[date | None, Query(alias="from", description="first day", examples=["2026-01-01"])]
LastDay = Annotated[date | None, Query(alias="to", description="last day, inclusive", examples=["2026-01-31"])]
After = Annotated[
    str | None, Query(max_length=100, description="`next` of the previous page", examples=["2026-01-31/results"])
]
InState = Annotated[WindowState | None, Query(description="only windows in this state", examples=["failed"])]


class WindowBody(BaseModel):
    """A window that was fetched at least once."""

    model_config = ConfigDict(json_schema_extra={"examples": [WINDOW_EXAMPLE]})

    feed: str
    date: date
    state: WindowState = Field(
        description="`live`: its day is not over; `done`; `failed`: `error` has the cause, the fetch is retried"
    )
    attempts: int = Field(description="failed fetches in a row")
    error: str | None


class Windows(BaseModel):
    """A page of windows, ordered by date and feed. Pass `next` as `after` to get the following page."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"windows": [WINDOW_EXAMPLE], "next": None}]})

    windows: list[WindowBody]
    next: str | None


class BackfillWish(BaseModel):
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
    def _sane(self) -> Self:
        if self.to_date < self.from_date:
            raise ValueError(f"`to` ({self.to_date}) is before `from` ({self.from_date})")
        if (self.to_date - self.from_date).days >= MOST_DAYS:
            raise ValueError(f"expected at most {MOST_DAYS} days, got {(self.to_date - self.from_date).days + 1}")
        return self


class FetcherApi:
    """Builds the router of the fetcher's endpoints."""

    def __init__(self, source: Source, plan: Plan, clock: Clock, archive: DocumentArchive) -> None:
        self._source = source
        self._plan = plan
        self._clock = clock
        self._archive = archive

    def router(self, desk: Desk) -> APIRouter:
        router = APIRouter(tags=["fetcher"])
        self._add_windows(desk, router)
        self._add_backfills(desk, router)
        self._add_replays(desk, router)
        return router

    def _add_windows(self, desk: Desk, router: APIRouter) -> None:
        @router.get("/windows", summary="List windows and their states")
        def windows(
            state: InState = None,
            from_date: FirstDay = None,
            to_date: LastDay = None,
            after: After = None,
            limit: Limit = 100,
        ) -> Windows:
            """A window is one feed of one day. It is done, failed with a cause, or still polled live."""
            with desk.broker() as broker:
                cursors = broker.cursors(FETCHER_CURSORS)
            found = [
                (window, value)
                for key, value in cursors.items()
                if (window := window_of(key, self._source.name)) is not None
                and (from_date is None or window.date >= from_date)
                and (to_date is None or window.date <= to_date)
                and (after is None or _mark(window) > after)
            ]
            found.sort(key=lambda each: _mark(each[0]))
            bodies = [_body(window, value) for window, value in found]
            page = [body for body in bodies if state is None or body.state == state]
            last = page[limit - 1] if len(page) > limit else None
            return Windows(windows=page[:limit], next=last and _mark(Window(last.feed, last.date)))

    def _add_backfills(self, desk: Desk, router: APIRouter) -> None:
        @router.get("/backfills", summary="List backfills, newest first")
        def backfills(before: Before = None, limit: Limit = 100) -> OperationPage:
            """Returns a page of operations of kind `backfill`."""
            return operation_page(desk, before, limit, [KIND])

        @router.post(
            "/backfills", status_code=202, summary="Fetch more days", response_model=OperationBody, responses=ACCEPTED
        )
        def backfill(wish: BackfillWish, request: Request) -> Response:
            """Fetches the windows after those of the plan and processes their documents like any other. Windows that
            are done are skipped unless `again` is true."""

            def work(connection: DbConnection) -> Answer:
                return begun(connection, desk, request, KIND, self._target(wish))

            return carry_out(desk, request, KIND, f"{self._source.name} {wish.from_date} to {wish.to_date}", work)

    def _add_replays(self, desk: Desk, router: APIRouter) -> None:
        @router.post(
            "/replays",
            status_code=202,
            summary="Replay raw-events from the archive of documents",
            response_model=OperationBody,
            responses=ACCEPTED | responses(409) | {200: {"model": ArchivePlan, "description": "The plan of a dry run"}},
        )
        def replay(wish: ArchiveWish, request: Request) -> Response:
            """Appends the archived events of these days to raw-events again, even where the topic no longer has the
            records. They have the same event ids and bytes, and the replay's id as their revision. The replay is an
            operation of the fetcher. With `dry_run` nothing is appended; the response (200) is the plan.

            409: an open replay from the archive covers some of the same windows.
            """
            plan = outcome(lambda: self._planned(wish))

            def work(connection: DbConnection) -> Answer:
                if isinstance(plan, HeadraceError):
                    raise plan
                if wish.dry_run:
                    return Answer(200, plan)
                require_alone(connection, desk.service, plan.windows)
                return begun(connection, desk, request, REPLAY, plan.model_dump(mode="json"))

            return carry_out(desk, request, "replay", f"archive of {self._source.name}", work)

    def _planned(self, wish: ArchiveWish) -> ArchivePlan:
        lines = list(self._archive.documents())
        return planned(wish, self._source, lines, Retelling(self._source, self._archive.read))

    def _target(self, wish: BackfillWish) -> dict[str, Any]:
        """The target of the operation. Raises ConfigError for an unknown feed or a day that is not over."""
        feeds = self._source.feeds_of(wish.feeds)
        ended = last_ended(self._clock.now(), self._source.zone, self._source.live.close_after_s)
        if not self._plan.recorded and wish.to_date > ended:
            raise ConfigError(
                f"{wish.to_date} is not over: the last day with final documents is {ended};"
                " set fetcher.follow to fetch the current day"
            )
        return {"source": self._source.name, **wish.model_dump(mode="json", by_alias=True), "feeds": feeds}


def require_alone(connection: DbConnection, service: str, windows: Sequence[str]) -> None:
    """Raises NotPossible if an open replay covers one of these windows.

    Takes an advisory lock until the transaction ends, so that a concurrent request cannot start one in between.
    """
    connection.execute("SELECT pg_advisory_xact_lock(hashtext('headrace replays'), hashtext(%s))", (service,))
    found = connection.execute(
        "SELECT id FROM ops.operations WHERE service = %s AND kind = %s AND finished_at IS NULL"
        " AND target -> 'windows' ?| %s ORDER BY id LIMIT 1",
        (service, REPLAY, list(windows)),
    ).fetchone()
    if found is not None:
        raise NotPossible(
            f"operation {found[0]} is an open replay of some of these windows: wait until it is done or cancel it"
        )


def _mark(window: Window) -> str:
    return f"{window.date.isoformat()}/{window.feed}"


def _body(window: Window, value: bytes) -> WindowBody:
    standing = standing_of(value)
    return WindowBody(
        feed=window.feed, date=window.date, state=standing.state, attempts=standing.attempts, error=standing.error
    )
