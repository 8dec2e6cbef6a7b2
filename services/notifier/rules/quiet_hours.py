"""Tells whether an instant is in quiet hours, and when they end.

Quiet hours are times of day on the wall clock of a time zone. When the clock is changed, an interval is shorter or
longer than usual: it ends when the wall clock first shows its end after its start, or would have shown it.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from services.notifier.rules.model import QuietHours

DAY = timedelta(days=1)


def quiet_until(hours: QuietHours, zone: ZoneInfo, at: datetime) -> datetime | None:
    """The end (UTC) of the quiet hours that contain `at`; None if it is in none."""
    today = at.astimezone(zone).date()
    for first_day in (today - DAY, today):
        last_day = first_day if hours.start < hours.end else first_day + DAY
        start, end = _first_instant(first_day, hours.start, zone), _first_instant(last_day, hours.end, zone)
        if start <= at < end:
            return end
    return None


def _first_instant(day: date, wall_time: time, zone: ZoneInfo) -> datetime:
    """The first instant (UTC) at which the wall clock of the day shows the time, or skips it."""
    local = datetime.combine(day, wall_time, zone)
    instant = local.astimezone(UTC)
    if instant.astimezone(zone).replace(tzinfo=None) == local.replace(tzinfo=None):
        return instant
    # The clock was set forward over this time. The offset before the change gives an instant after it.
    return _change_between(instant - DAY, instant, zone)


def _change_between(before: datetime, after: datetime, zone: ZoneInfo) -> datetime:
    """The second at which the offset of the zone changes, by bisection."""
    old_offset = before.astimezone(zone).utcoffset()
    while after - before > timedelta(seconds=1):
        middle = before + timedelta(seconds=(after - before) // timedelta(seconds=2))
        if middle.astimezone(zone).utcoffset() == old_offset:
            before = middle
        else:
            after = middle
    return after
