"""Computes when a window whose day is over is fetched again: after a failure, while suspect, and once when done."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

from services.fetcher.planning.cursor import WindowStatus
from services.fetcher.planning.windows import wait_s
from shared.backoff import Backoff

# A recheck that could not take place for so long, because no fetcher ran, is left out. An upgrade or a long pause would
# otherwise be followed by one request for each window of the past.
MAX_RECHECK_DELAY = timedelta(days=7)


class RevisitRules(NamedTuple):
    """`failed_s`: the first delay after a failure. The other fields are those of `completeness` in the declaration."""

    failed_s: float
    retry_s: float
    max_retry_s: float
    recheck_after_h: float


def next_visit_at(status: WindowStatus, is_suspect: bool, rules: RevisitRules, now: datetime) -> datetime | None:
    """The time of the next fetch, which may have passed; None if none is planned or the time of the last is unknown."""
    last = max((at for at in (status.checked_at, status.fetched_at) if at is not None), default=None)
    if last is None or status.is_accepted:
        return None
    if status.error is not None:
        return last + timedelta(seconds=wait_s(status.attempts, rules.failed_s))
    if status.state != "done" or status.fetched_at is None:
        return None
    if is_suspect:
        delay_s = Backoff(rules.retry_s, max(rules.retry_s, rules.max_retry_s)).delay_s(max(1, status.equal_answers))
        return last + timedelta(seconds=delay_s)
    recheck_at = status.fetched_at + timedelta(hours=rules.recheck_after_h)
    is_due = rules.recheck_after_h > 0 and last < recheck_at and now < recheck_at + MAX_RECHECK_DELAY
    return recheck_at if is_due else None
