"""REST endpoints of backfills: start one, list them, and list the windows that one would fetch."""

from __future__ import annotations

from datetime import date
from typing import Any, Self

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.config import JsonDict

from services.fetcher.api.ledger_reader import LedgerReader
from services.fetcher.planning.ledger import LedgerState, Order, Selection, in_order
from services.fetcher.planning.windows import FetchPlan, last_final_day, windows_between
from services.fetcher.postgres_backfills import BACKFILL
from services.fetcher.sources.declaration import Source
from shared.clock import Clock
from shared.database.connection import DbConnection
from shared.errors import ConfigError, HeadraceError
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

# About eleven years. A longer backfill is taken for a typing error.
MAX_BACKFILL_DAYS = 4000

BACKFILL_EXAMPLE: JsonDict = {"from": "2026-01-01", "to": "2026-01-31", "feeds": ["results"], "again": False}
PLAN_EXAMPLE: JsonDict = {"windows": [{"feed": "results", "date": "2026-01-31", "state": "failed"}], "total": 1}


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
    only: list[Selection] | None = Field(
        default=None,
        min_length=1,
        max_length=3,
        description="fetch only windows that are `missing` (without a final document), `failed` or `suspect` now",
    )
    order: Order = Field(default="oldest", description="fetch the oldest or the newest day first")
    dry_run: bool = Field(default=False, description="change nothing and return the windows that would be fetched")

    @model_validator(mode="after")
    def _check_days(self) -> Self:
        if self.to_date < self.from_date:
            raise ValueError(f"`to` ({self.to_date}) is before `from` ({self.from_date})")
        if (self.to_date - self.from_date).days >= MAX_BACKFILL_DAYS:
            raise ValueError(
                f"expected at most {MAX_BACKFILL_DAYS} days, got {(self.to_date - self.from_date).days + 1}"
            )
        return self


class BackfillWindow(BaseModel):
    """A window that a backfill would fetch, with its state now."""

    feed: str
    date: date
    state: LedgerState


class BackfillPlan(BaseModel):
    """The windows that a backfill would fetch, in order."""

    model_config = ConfigDict(json_schema_extra={"examples": [PLAN_EXAMPLE]})

    windows: list[BackfillWindow]
    total: int


class BackfillEndpoints:
    def __init__(self, source: Source, plan: FetchPlan, clock: Clock, ledger: LedgerReader) -> None:
        self._source = source
        self._plan = plan
        self._clock = clock
        self._ledger = ledger

    def add_to(self, context: AdminContext, router: APIRouter) -> None:
        @router.get("/backfills", summary="List backfills, newest first")
        def list_backfills(before: Before = None, limit: Limit = 100) -> OperationPage:
            """Returns a page of operations of kind `backfill`."""
            return operation_page(context, before, limit, [BACKFILL])

        @router.post(
            "/backfills",
            status_code=202,
            summary="Fetch more days",
            response_model=OperationBody,
            responses=ACCEPTED | {200: {"model": BackfillPlan, "description": "The windows of a dry run"}},
        )
        def start_backfill(body: BackfillRequest, request: Request) -> Response:
            """Fetches the windows after those of the plan and processes their documents like any other. Windows that
            are done are skipped unless `again` is true or `only` selects them. With `dry_run` nothing is fetched; the
            response (200) lists the windows in order. A backfill is an operation that can be paused, resumed and
            cancelled."""
            plan = capture_refusal(lambda: self._plan_backfill(context, body))

            def work(connection: DbConnection) -> ChangeResult:
                if isinstance(plan, HeadraceError):
                    raise plan
                if body.dry_run:
                    return ChangeResult(200, plan)
                return start_operation(connection, context, request, BACKFILL, self._target(body, plan))

            return apply_change(
                context, request, BACKFILL, f"{self._source.name} {body.from_date} to {body.to_date}", work
            )

    def _plan_backfill(self, context: AdminContext, request: BackfillRequest) -> BackfillPlan:
        """Raises ConfigError for an unknown feed or a day that is not over."""
        feeds = self._source.feeds_of(request.feeds)
        last_day = last_final_day(self._clock.now(), self._source.zone, self._source.live.close_after_s)
        if not self._plan.recorded and request.to_date > last_day:
            raise ConfigError(
                f"{request.to_date} is not over: the last day with final documents is {last_day};"
                " set fetcher.follow to fetch the current day"
            )
        ledger = self._ledger.read(context)
        windows = in_order(list(windows_between(request.from_date, request.to_date, feeds)), request.order)
        if request.only is not None:
            windows = ledger.select(windows, request.only)
        elif not request.again:
            windows = [window for window in windows if ledger.entry(window).status.state != "done"]
        rows = [BackfillWindow(feed=each.feed, date=each.date, state=ledger.entry(each).state) for each in windows]
        return BackfillPlan(windows=rows, total=len(rows))

    def _target(self, request: BackfillRequest, plan: BackfillPlan) -> dict[str, Any]:
        """The target of the operation. The windows that `only` selects are named, because their states change."""
        target = {
            "source": self._source.name,
            **request.model_dump(mode="json", by_alias=True, exclude={"dry_run", "only"}),
            "feeds": self._source.feeds_of(request.feeds),
        }
        if request.only is None:
            return target
        windows = [f"{each.feed}/{each.date}" for each in plan.windows]
        return target | {"only": request.only, "windows": windows, "again": True}
