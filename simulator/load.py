"""Publishes the documents of a season one after the other at a constant rate, and counts those that were fetched.

The rate does not depend on the client (an open loop): a client that is too slow falls behind, and the difference is
visible. Documents are numbered in the order in which the fetcher asks for past days: by day, then by feed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

from simulator.documents import FEEDS

# Below the minimum, the fetcher gives up a document that is not public yet: it requests up to 8 at a time and tries
# each 6 times, and each try waits for `server.HOLD_S`.
MIN_RATE, MAX_RATE = 0.5, 1000.0


@dataclass(frozen=True)
class LoadPlan:
    """`rate` is in documents per second; each document has `records_per_document` events."""

    first_date: date
    days: int
    rate: float
    records_per_document: int

    def __post_init__(self) -> None:
        if not MIN_RATE <= self.rate <= MAX_RATE:
            raise ValueError(f"expected a rate of {MIN_RATE:g} to {MAX_RATE:g} documents per second, got {self.rate:g}")

    @property
    def documents(self) -> int:
        return self.days * len(FEEDS)

    def number_of(self, feed: str, day: date) -> int | None:
        """The number of a document, from 0; None for a day outside the season."""
        days = (day - self.first_date).days
        return days * len(FEEDS) + FEEDS.index(feed) if 0 <= days < self.days else None


@dataclass(frozen=True)
class LoadReading:
    """The state of a load at `at_s`. Counts are of documents; `repeated` counts further fetches of a document."""

    at_s: float
    published: int
    fetched: int
    repeated: int


class Load:
    """A load that begins with the first request, at the requested document: a second client run continues there.

    Not thread-safe: the server calls it under a lock. It stores one byte for each document of the season. `monotonic_s`
    is the clock in seconds.
    """

    def __init__(self, plan: LoadPlan, monotonic_s: Callable[[], float]) -> None:
        self.plan = plan
        self._monotonic_s = monotonic_s
        self._first: int | None = None
        self._started_s = 0.0
        self._fetched = bytearray(plan.documents)
        self._fetched_count = 0
        self._repeated = 0

    def wait_s(self, number: int) -> float:
        """Seconds until the document is public; 0 if it is."""
        now_s = self._monotonic_s()
        if self._first is None:
            self._first, self._started_s = number, now_s
        return max(0.0, self._started_s + (number - self._first) / self.plan.rate - now_s)

    def record_fetch(self, number: int) -> None:
        """Count a document whose last byte was sent."""
        if self._fetched[number]:
            self._repeated += 1
        else:
            self._fetched[number] = 1
            self._fetched_count += 1

    def begin(self) -> LoadReading:
        """The reading at the time of the first request."""
        return LoadReading(self._started_s, 0, 0, 0)

    def reading(self) -> LoadReading:
        now_s = self._monotonic_s()
        return LoadReading(now_s, self._published(now_s), self._fetched_count, self._repeated)

    def _published(self, now_s: float) -> int:
        """Documents published since the first request. Documents before the first one count once they are fetched."""
        if self._first is None:
            return 0
        since = min(self.plan.documents - self._first, int((now_s - self._started_s) * self.plan.rate) + 1)
        return since + sum(self._fetched[: self._first])


def report_line(plan: LoadPlan, before: LoadReading, now: LoadReading) -> str:
    """One line about the time between two readings."""
    if now.published == 0:
        return "load: waiting for the first request"
    elapsed_s = max(1e-9, now.at_s - before.at_s)
    offered, fetched = (
        (late - early) / elapsed_s for late, early in ((now.published, before.published), (now.fetched, before.fetched))
    )
    records = plan.records_per_document
    return (
        f"load: offered {offered:.1f} documents/s ({offered * records:,.0f} records/s),"
        f" fetched {fetched:.1f} ({fetched * records:,.0f});"
        f" {now.published:,} of {plan.documents:,} published, {now.fetched:,} fetched,"
        f" {now.published - now.fetched:,} not fetched yet, {now.repeated:,} fetched again"
    )
