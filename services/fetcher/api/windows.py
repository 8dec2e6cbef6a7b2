"""REST endpoints of windows: their states, gaps, changes of final documents, and the acceptance of suspect ones."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from services.fetcher.api.ledger_reader import LedgerReader
from services.fetcher.api.window_bodies import (
    AcceptanceRequest,
    GapList,
    WindowChangePage,
    WindowPage,
    change_body,
    gap_body,
    next_page,
    page_key,
    window_body,
)
from services.fetcher.planning.ledger import LedgerEntry, LedgerState
from services.fetcher.planning.windows import Window
from services.fetcher.postgres_acceptances import ACCEPTANCE, acceptance_target
from services.fetcher.sources.declaration import Source
from shared.database.connection import DbConnection
from shared.ops.operations import NotPossible
from shared.runtime.api.auth import ADMIN_ONLY
from shared.runtime.api.context import AdminContext
from shared.runtime.api.idempotent_change import ACCEPTED, ChangeResult, OperationBody, apply_change, start_operation
from shared.runtime.api.paging import Limit
from shared.runtime.api.problems import responses

FirstDay = Annotated[date | None, Query(alias="from", description="first day", examples=["2026-01-01"])]
LastDay = Annotated[date | None, Query(alias="to", description="last day, inclusive", examples=["2026-01-31"])]
After = Annotated[
    str | None, Query(max_length=100, description="`next` of the previous page", examples=["2026-01-31/results"])
]
StateFilter = Annotated[LedgerState | None, Query(description="only windows in this state", examples=["failed"])]
FeedName = Annotated[str, Path(max_length=40, examples=["results"])]
WindowDate = Annotated[date, Path(examples=["2026-01-31"])]


class WindowEndpoints:
    def __init__(self, source: Source, ledger: LedgerReader) -> None:
        self._source = source
        self._ledger = ledger

    def add_to(self, context: AdminContext, router: APIRouter) -> None:
        self._add_lists(context, router)
        self._add_acceptances(context, router)

    def _add_lists(self, context: AdminContext, router: APIRouter) -> None:
        @router.get("/windows", summary="List windows and their states")
        def list_windows(
            state: StateFilter = None,
            from_date: FirstDay = None,
            to_date: LastDay = None,
            after: After = None,
            limit: Limit = 100,
        ) -> WindowPage:
            """A window is one feed of one day: those of the plan, and those that were fetched."""
            entries = [
                entry
                for entry in self._entries(context, from_date, to_date, after)
                if state is None or entry.state == state
            ]
            return WindowPage(windows=[window_body(each) for each in entries[:limit]], next=next_page(entries, limit))

        @router.get("/windows/gaps", summary="List days without a complete document")
        def list_window_gaps(from_date: FirstDay = None, to_date: LastDay = None) -> GapList:
            """By feed, consecutive days whose window is not done, or is suspect. They begin with `from`, else with the
            plan, else with the first day that was fetched."""
            ledger = self._ledger.read(context)
            windows = self._ledger.planned(from_date or self._ledger.first_day or ledger.first_day(), to_date)
            return GapList(gaps=[gap_body(gap) for gap in ledger.gaps(windows)])

        @router.get("/windows/changes", summary="List changes of final documents")
        def list_window_changes(
            from_date: FirstDay = None, to_date: LastDay = None, after: After = None, limit: Limit = 100
        ) -> WindowChangePage:
            """The last change of each window whose final document changed when it was fetched again."""
            entries = [
                entry for entry in self._entries(context, from_date, to_date, after) if entry.status.change is not None
            ]
            return WindowChangePage(
                changes=[change_body(each) for each in entries[:limit]], next=next_page(entries, limit)
            )

    def _add_acceptances(self, context: AdminContext, router: APIRouter) -> None:
        @router.post(
            "/windows/{feed}/{date}/accept",
            status_code=202,
            summary="Accept a suspect or failed window",
            response_model=OperationBody,
            responses=ACCEPTED | responses(409),
            **ADMIN_ONLY,
        )
        def start_window_acceptance(
            feed: FeedName, date: WindowDate, body: AcceptanceRequest, request: Request
        ) -> Response:
            """Its document counts as complete, or it counts as done without one; it is no longer fetched again. A later
            backfill can still fetch it. The operation ends when the fetcher has stored it.

            409: the window was not fetched, or its day is not over.
            """
            window = Window(feed, date)
            state = self._ledger.read(context).entry(window).state

            def work(connection: DbConnection) -> ChangeResult:
                if state in {"planned", "live"}:
                    raise NotPossible(f"{feed}/{date} is {state}: only a window whose day is over can be accepted")
                target = acceptance_target(self._source.name, window, body.reason)
                return start_operation(connection, context, request, ACCEPTANCE, target)

            return apply_change(context, request, "accept", window.key(self._source.name), work)

    def _entries(
        self, context: AdminContext, first: date | None, last: date | None, after: str | None
    ) -> list[LedgerEntry]:
        return [
            entry
            for entry in self._ledger.read(context).entries()
            if (first is None or entry.window.date >= first)
            and (last is None or entry.window.date <= last)
            and (after is None or page_key(entry) > after)
        ]
