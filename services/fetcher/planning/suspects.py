"""Finds suspect windows: final documents that lack events which other documents of their day have."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from services.fetcher.planning.cursor import WindowStatus
from services.fetcher.planning.windows import Window


def suspect_windows(statuses: Mapping[Window, WindowStatus]) -> set[Window]:
    """The windows that are done with fewer events than any document of their day, earlier ones of their own included.

    All feeds of a source describe the same events, and a final document also has those that were cancelled. A window
    whose final document was fetched again without a change is not suspect: the source has no more events.
    """
    most_events: dict[date, int] = {}
    for window, status in statuses.items():
        most_events[window.date] = max(status.most_events, most_events.get(window.date, 0))
    return {
        window
        for window, status in statuses.items()
        if status.state == "done"
        and not status.is_confirmed
        and status.events is not None
        and status.events < most_events[window.date]
    }
