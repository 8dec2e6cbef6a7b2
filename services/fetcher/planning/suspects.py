"""Finds suspect windows: the final document has no events, fewer than others or events without values, or the answer
is not the document of the window."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import date

from services.fetcher.planning.cursor import WindowStatus
from services.fetcher.planning.windows import Window


def suspicions(statuses: Mapping[Window, WindowStatus]) -> dict[Window, str]:
    """The windows with a suspect document, each with the reason.

    All feeds of a source describe the same events, and a final document also has those that were cancelled. A window
    that is confirmed is not suspect: the source gave the same document often enough, or an operator accepted it.
    """
    most_events: dict[date, int] = defaultdict(int)
    for window, status in statuses.items():
        most_events[window.date] = max(status.most_events, most_events[window.date])
    reasons = ((window, _suspicion(status, most_events[window.date])) for window, status in statuses.items())
    return {window: reason for window, reason in reasons if reason is not None}


def _suspicion(status: WindowStatus, most_events: int) -> str | None:
    if status.state == "failed":
        return status.error if status.wrong_document is not None else None
    if status.state != "done" or status.is_confirmed or status.events is None:
        return None
    return _incompleteness(status, status.events, most_events)


def _incompleteness(status: WindowStatus, events: int, most_events: int) -> str | None:
    if events == 0:
        return "the document has no events"
    if events < most_events:
        return f"the document has {events} events, another one of its day {most_events}"
    if status.valued == 0:
        return f"none of {events} events has values"
    if status.valued is not None and status.valued < status.most_valued:
        return f"{status.valued} events have values, in an earlier document {status.most_valued}"
    return None
