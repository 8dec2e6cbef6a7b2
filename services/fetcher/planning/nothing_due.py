"""Explains why a fetcher has fetched nothing: its plan has no due window, or the source has no document of its days."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from services.fetcher.planning.windows import DAY, FetchPlan, day_at

NOTHING_REQUESTED = "no day is requested: set fetcher.from, fetcher.to or fetcher.follow"


class Calendar(NamedTuple):
    """The days of a source: its time zone, and the time from the end of a day until its documents are final."""

    zone: ZoneInfo
    close_after_s: float


def explain(
    plan: FetchPlan, calendar: Calendar, now: datetime, span: tuple[date, date] | None, next_at: datetime | None
) -> str:
    """One line with the days and the next due time. Call it only if no document has been fetched and no window is due.

    `span`: the first and last day that is over. `next_at`: when a window that had no document is due again.
    """
    today = day_at(now, calendar.zone)
    if span is None and not plan.includes_today(today):
        if plan.first is None and plan.last is None:
            return NOTHING_REQUESTED
        first_at = None if plan.first is None or plan.first < today else _first_due_at(plan.first, plan, calendar)
        return f"no window of {_days_of(plan)} is due; {_next_text(first_at, calendar.zone)}"
    first = today if span is None else span[0]
    last = today if plan.includes_today(today) or span is None else span[1]
    days = f"{first}" if first == last else f"{first} to {last}"
    return f"the source has no document of {days}; {_next_text(next_at, calendar.zone)}"


def _first_due_at(first: date, plan: FetchPlan, calendar: Calendar) -> datetime:
    """The begin of the day if it is fetched while it lasts; otherwise when its documents are final."""
    if plan.includes_today(first):
        return _midnight(first, calendar.zone)
    return _midnight(first + DAY, calendar.zone) + timedelta(seconds=calendar.close_after_s)


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=zone)


def _days_of(plan: FetchPlan) -> str:
    if plan.first is None:
        return f"the days until {plan.last}"
    return f"the days from {plan.first}" if plan.last is None else f"{plan.first} to {plan.last}"


def _next_text(at: datetime | None, zone: ZoneInfo) -> str:
    if at is None:
        return "none will be due: check fetcher.from, fetcher.to and the source"
    return f"the next is due at {at.astimezone(zone).isoformat(sep=' ', timespec='minutes')}"
