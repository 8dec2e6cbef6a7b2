"""The bodies of the endpoints of windows."""

from __future__ import annotations

from datetime import date, datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from services.fetcher.planning.ledger import Gap, LedgerEntry, LedgerState, Stage

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


class WindowBody(BaseModel):
    """A window: one feed of one day."""

    model_config = ConfigDict(json_schema_extra={"examples": [WINDOW_EXAMPLE]})

    feed: str
    date: date
    state: LedgerState = Field(
        description="`planned`: not fetched yet; `live`: its day is not over; `done`; `suspect`: its document"
        " may be incomplete, or the answer was not its document (`detail`), it is fetched again; `failed`: `error` has"
        " the cause, the fetch is retried"
    )
    stage: Stage = Field(
        description="`fetched`: its document waits for its unit; `emitted`: its records are in raw-events; `loaded`:"
        " the loader has handled all of them (as rows, or parked, filtered or dead letters)"
    )
    events: int | None = Field(description="events of the last document; null before the first one")
    attempts: int = Field(description="failed fetches in a row")
    error: str | None
    detail: str | None = Field(description="the error, or why the document is suspect")
    equal_answers: int = Field(description="answers in a row with this final document, or with the same wrong one")
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


def page_key(entry: LedgerEntry) -> str:
    return f"{entry.window.date.isoformat()}/{entry.window.feed}"


def next_page(entries: list[LedgerEntry], limit: int) -> str | None:
    return page_key(entries[limit - 1]) if len(entries) > limit else None


def window_body(entry: LedgerEntry) -> WindowBody:
    status, wrong = entry.status, entry.status.wrong_document
    return WindowBody(
        feed=entry.window.feed,
        date=entry.window.date,
        state=entry.state,
        stage=entry.stage,
        events=status.events,
        attempts=status.attempts,
        error=status.error,
        detail=entry.detail,
        equal_answers=status.equal_answers if wrong is None else wrong.equal_answers,
        fetched_at=status.fetched_at,
        next_at=entry.next_at,
    )


def gap_body(gap: Gap) -> GapBody:
    days = (gap.last - gap.first).days + 1
    return GapBody(feed=gap.feed, first=gap.first, last=gap.last, days=days, states=dict(gap.states))


def change_body(entry: LedgerEntry) -> WindowChangeBody:
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
