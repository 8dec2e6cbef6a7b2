"""The versions of one day's document of a feed, as the source publishes them every few minutes.

From the first publication of a day until that of the next, `today.json` and the dated file are the same version. Before
it the dated file does not exist. There is a new version only when a race changed its stage.
"""

from __future__ import annotations

from bisect import bisect_right
from datetime import UTC, date, datetime, timedelta, timezone

from simulator.documents import document
from simulator.races import Race
from simulator.stages import StageChange, stage_at

JST = timezone(timedelta(hours=9))


class Edition:
    """All versions of one feed's document of one day, numbered from 0. Bodies are rendered on demand."""

    def __init__(
        self, feed: str, races: tuple[Race, ...], steps: list[list[StageChange]], publish_every_min: int
    ) -> None:
        self._feed = feed
        self._races = races
        self._steps = steps
        self._midnight = datetime.combine(races[0].day, datetime.min.time(), JST)
        changed_min = {step.at_min for race_steps in steps for step in race_steps}
        self._published_min = sorted({-(-at // publish_every_min) * publish_every_min for at in changed_min})

    def version(self, now: datetime) -> int | None:
        """The number of the public version; None before the first."""
        minute = (now - self._midnight).total_seconds() / 60
        public = bisect_right(self._published_min, minute)
        return public - 1 if public else None

    @property
    def versions(self) -> int:
        return len(self._published_min)

    def published_at(self, version: int) -> datetime:
        return (self._midnight + timedelta(minutes=self._published_min[version])).astimezone(UTC)

    def body(self, version: int) -> bytes:
        minute = self._published_min[version]
        return document(self._feed, [(r, stage_at(s, minute)) for r, s in zip(self._races, self._steps, strict=True)])


def race_day(now: datetime) -> date:
    """The date in Japan."""
    return now.astimezone(JST).date()
