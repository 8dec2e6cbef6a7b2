"""REST endpoints of windows: their states, gaps, changes of final documents, and the acceptance of suspect ones."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import closing
from datetime import date, datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from services.fetcher.planning.cursor import status_of
from services.fetcher.planning.ledger import Gap, Ledger, LedgerEntry, LedgerState, Stage
from services.fetcher.planning.windows import FetchPlan, Window, last_final_day, window_of, windows_between
from services.fetcher.postgres_acceptances import ACCEPTANCE, acceptance_target
from services.fetcher.progress import revisit_rules_of
from services.fetcher.sources.declaration import Source
from shared.broker.contract import Broker
from shared.clock import Clock
from shared.database.connection import DbConnection
from shared.ops.operations import NotPossible
from shared.runtime.api.context import AdminContext
from shared.runtime.api.idempotent_change import ACCEPTED, ChangeResult, OperationBody, apply_change, start_operation
from shared.runtime.api.paging import Limit
from shared.runtime.api.problems import responses
from shared.topics import CLEAN, FETCHER_CURSORS, RAW

# The topics between fetcher and tables, with the service that reads each, in the order in which records pass them.
STAGES = ((RAW, "cleaner"), (CLEAN, "loader"))

WINDOW_EXAMPLE: JsonDict = {
    "feed": "results", "date": "2026-01-31", "state": "suspect", "stage": "loaded", "events": 150, "attempts": 0,
    "error": None, "detail": "the document has 150 events, another one of its day 168", "equal_answers": 1,
    "fetched_at": "2026-01-31T15:15:04Z", "next_at": "2026-01-31T16:15:04Z",
}  # fmt: skip
GAP_EXAMPLE: JsonDict = {
    "feed": "results", "from": "2026-01-30", "to": "2026-01-31", "days": 2, "states": {"failed": 1, "planned": 1},
}  # fmt: skip
CHANGE_EXAMPLE: JsonDict = {
    "feed": "results", "date": "2026-01-31", "at": "2026-02-01T15:15:04Z", "before": "5b1c", "after": "9e02",
    "total": 1, "events": [{"event": "boatrace:2026-01-31:07:04", "kind": "changed", "fields": ["race_wind"]}],
}  # fmt: skip
FirstDay = Annotated[date | None, Query(alias="from", description="first day", examples=["2026-01-01"])]
LastDay = Annotated[date | None, Query(alias="to", description="last day, inclusive", examples=["2026-01-31"])]
After = Annotated[
    str | None, Query(max_length=100, description="`next` of the previous page", examples=["2026-01-31/results"])
]
StateFilter = Annotated[LedgerState | None, Query(description="only windows in this state", examples=["failed"])]
FeedName = Annotated[str, Path(max_length=40, examples=["results"])]
WindowDate = Annotated[date, Path(examples=["2026-01-31"])]


class WindowBody(BaseModel):
    """A window: one feed of one day."""

    model_config = ConfigDict(json_schema_extra={"examples": [WINDOW_EXAMPLE]})

    feed: str
    date: date
    state: LedgerState = Field(
        description="`planned`: not fetched yet; `live`: its day is not over; `done`; `suspect`: done, but its document"
        " may be incomplete (`detail`), it is fetched again; `failed`: `error` has the cause, the fetch is retried"
    )
    stage: Stage = Field(
        description="`fetched`: its document waits for its unit; `emitted`: its records are in raw-events; `loaded`:"
        " the loader has handled all of them (as rows, or parked, filtered or dead letters)"
    )
    events: int | None = Field(description="events of the last document; null before the first one")
    attempts: int = Field(description="failed fetches in a row")
    error: str | None
    detail: str | None = Field(description="the error, or why the document is suspect")
    equal_answers: int = Field(description="answers in a row with this final document")
    fetched_at: datetime | None = Field(description="when the last document was fetched first")
    next_at: datetime | None = Field(description="when a window whose day is over is fetched again, as far as planned")


class WindowPage(BaseModel):
    """A page of windows, ordered by date and feed. Pass `next` as `after` to get the following page."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"windows": [WINDOW_EXAMPLE], "next": None}]})

    windows: list[WindowBody]
    next: str | None


class GapBody(BaseModel):
    """Consecutive days of a feed without a complete final document."""

    model_config = ConfigDict(populate_by_name=True, json_schema_extra={"examples": [GAP_EXAMPLE]})

    feed: str
    first: date = Field(serialization_alias="from")
    last: date = Field(serialization_alias="to")
    days: int
    states: dict[str, int] = Field(description="windows by state")


class GapList(BaseModel):
    model_config = ConfigDict(json_schema_extra={"examples": [{"gaps": [GAP_EXAMPLE]}]})

    gaps: list[GapBody]


class EventDifferenceBody(BaseModel):
    event: str
    kind: Literal["added", "removed", "changed"]
    fields: list[str] = Field(description="paths of the values that differ; empty if the old document is not archived")


class WindowChangeBody(BaseModel):
    """How the final document of a window differs from the final document before."""

    model_config = ConfigDict(json_schema_extra={"examples": [CHANGE_EXAMPLE]})

    feed: str
    date: date
    at: datetime = Field(description="when the new document was fetched")
    before: str = Field(description="SHA-256 of the document before")
    after: str
    total: int = Field(description="events that differ")
    events: list[EventDifferenceBody] = Field(description="the first of them")


class WindowChangePage(BaseModel):
    """A page of changes, ordered by date and feed. Pass `next` as `after` to get the following page."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"changes": [CHANGE_EXAMPLE], "next": None}]})

    changes: list[WindowChangeBody]
    next: str | None


class AcceptanceRequest(BaseModel):
    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"reason": "no races on this day"}]})

    reason: str = Field(min_length=1, max_length=500, description="recorded in the audit trail")


class LedgerReader:
    """Reads the ledger from the committed cursors. `fetched_keys`: the windows whose document waits for its unit."""

    def __init__(
        self, source: Source, plan: FetchPlan, clock: Clock, fetched_keys: Callable[[], Collection[str]]
    ) -> None:
        self._source = source
        self._plan = plan
        self._clock = clock
        self._fetched_keys = fetched_keys
        # When the document of each window was fetched, as of the last time the pipeline had no waiting records.
        self._loaded: dict[Window, datetime | None] = {}

    def read(self, context: AdminContext) -> Ledger:
        with context.broker() as broker:
            # The order matters: the records of these cursors were appended before the ends are read.
            statuses = {
                window: status_of(value)
                for key, value in broker.cursors(FETCHER_CURSORS).items()
                if (window := window_of(key, self._source.name)) is not None
            }
            if is_drained(broker):
                self._loaded = {window: status.fetched_at for window, status in statuses.items()}
        loaded = {window for window, status in statuses.items() if self._loaded.get(window) == status.fetched_at}
        fetched = {window for key in self._fetched_keys() if (window := window_of(key, self._source.name))}
        rules, now = revisit_rules_of(self._source), self._clock.now()
        return Ledger(statuses, self.planned(), rules, now, fetched, loaded)

    @property
    def first_day(self) -> date | None:
        """The first day of the plan; None if it has none."""
        return self._plan.first

    def planned(self, first: date | None = None, last: date | None = None) -> list[Window]:
        """The windows of the plan whose day is over, or of these days."""
        final = last_final_day(self._clock.now(), self._source.zone, self._source.live.close_after_s)
        first, last = first or self._plan.first, last or self._plan.last or final
        if first is None:
            return []
        last = last if self._plan.recorded else min(last, final)
        return list(windows_between(first, last, self._source.feeds_of(None)))


def is_drained(broker: Broker) -> bool:
    """Whether the loader has handled all records of raw-events that exist when this is called.

    The stages are read in order: when a topic's end is read, all records of the stage before have passed it.
    """
    for topic, reader in STAGES:
        ends = broker.end_offsets(broker.partitions(topic))
        committed = broker.committed(reader, [topic])
        ranges = {tp: (committed[tp], end) for tp, end in ends.items() if committed[tp] < end}
        if not ranges:
            continue
        with closing(broker.backlog()) as backlog:
            if any(each.records for each in backlog.measure(ranges, thorough=False).values()):
                return False
    return True


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
            return WindowPage(windows=[_window_body(each) for each in entries[:limit]], next=_next(entries, limit))

        @router.get("/windows/gaps", summary="List days without a complete document")
        def list_window_gaps(from_date: FirstDay = None, to_date: LastDay = None) -> GapList:
            """By feed, consecutive days whose window is not done, or is suspect. They begin with `from`, else with the
            plan, else with the first day that was fetched."""
            ledger = self._ledger.read(context)
            windows = self._ledger.planned(from_date or self._ledger.first_day or ledger.first_day(), to_date)
            return GapList(gaps=[_gap_body(gap) for gap in ledger.gaps(windows)])

        @router.get("/windows/changes", summary="List changes of final documents")
        def list_window_changes(
            from_date: FirstDay = None, to_date: LastDay = None, after: After = None, limit: Limit = 100
        ) -> WindowChangePage:
            """The last change of each window whose final document changed when it was fetched again."""
            entries = [
                entry for entry in self._entries(context, from_date, to_date, after) if entry.status.change is not None
            ]
            return WindowChangePage(
                changes=[_change_body(each) for each in entries[:limit]], next=_next(entries, limit)
            )

    def _add_acceptances(self, context: AdminContext, router: APIRouter) -> None:
        @router.post(
            "/windows/{feed}/{date}/accept",
            status_code=202,
            summary="Accept a suspect or failed window",
            response_model=OperationBody,
            responses=ACCEPTED | responses(409),
        )
        def start_window_acceptance(feed: FeedName, date: WindowDate, body: AcceptanceRequest, request: Request) -> Response:
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
            and (after is None or _page_key(entry) > after)
        ]


def _page_key(entry: LedgerEntry) -> str:
    return f"{entry.window.date.isoformat()}/{entry.window.feed}"


def _next(entries: list[LedgerEntry], limit: int) -> str | None:
    return _page_key(entries[limit - 1]) if len(entries) > limit else None


def _window_body(entry: LedgerEntry) -> WindowBody:
    status = entry.status
    return WindowBody(
        feed=entry.window.feed,
        date=entry.window.date,
        state=entry.state,
        stage=entry.stage,
        events=status.events,
        attempts=status.attempts,
        error=status.error,
        detail=entry.detail,
        equal_answers=status.equal_answers,
        fetched_at=status.fetched_at,
        next_at=entry.next_at,
    )


def _gap_body(gap: Gap) -> GapBody:
    days = (gap.last - gap.first).days + 1
    return GapBody(feed=gap.feed, first=gap.first, last=gap.last, days=days, states=gap.states)


def _change_body(entry: LedgerEntry) -> WindowChangeBody:
    change = entry.status.change
    assert change is not None  # noqa: S101  # the caller selects entries with a change
    return WindowChangeBody(
        feed=entry.window.feed,
        date=entry.window.date,
        at=change.at,
        before=change.before,
        after=change.after,
        total=change.total,
        events=[
            EventDifferenceBody(event=each.event, kind=each.kind, fields=list(each.fields)) for each in change.events
        ],
    )
