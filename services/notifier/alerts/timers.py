"""Measures for how long conditions have been true, or absent, over readings of the pipeline.

Only the time between readings counts, not timestamps within them: while the database is unavailable, no replica can
write its heartbeat, and all heartbeats are old when it is back.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime
from typing import NamedTuple

# A shorter absence does not begin the time again: a process that starts and crashes in a loop is ready now and then.
RESET_S = 15.0


class IncidentKey(NamedTuple):
    """At most one incident is open for a rule and a subject."""

    rule: str
    subject: str


class ConditionTimers:
    """Call `observe` with each reading, and `clear` if nothing is known about the time before it."""

    def __init__(self) -> None:
        self._at: datetime | None = None
        self._true_since: dict[IncidentKey, datetime] = {}
        self._absent_since: dict[IncidentKey, datetime] = {}

    def clear(self) -> None:
        self._true_since.clear()
        self._absent_since.clear()

    def observe(
        self,
        at: datetime,
        true: Collection[IncidentKey],
        others: Collection[IncidentKey],
        is_known: Callable[[IncidentKey], bool],
    ) -> None:
        """`others`: further keys whose absence is measured. A key that is not known keeps its time, and its absence
        begins again."""
        self._at = at
        absent = {*self._true_since, *others} - set(true)
        self._absent_since = {key: self._absent_since.get(key, at) for key in absent if is_known(key)}
        for key in true:
            self._true_since.setdefault(key, at)
        for key, since in self._absent_since.items():
            if _seconds(since, at) >= RESET_S:
                self._true_since.pop(key, None)

    def has_been_true(self, key: IncidentKey, for_s: float) -> bool:
        """Whether the condition has been true for `for_s` at the last reading."""
        since = self._true_since.get(key)
        return since is not None and _seconds(since, self._at) >= for_s

    def has_been_absent(self, key: IncidentKey, for_s: float) -> bool:
        """Whether the condition has been known and absent for `for_s` at the last reading."""
        since = self._absent_since.get(key)
        return since is not None and _seconds(since, self._at) >= for_s


def _seconds(since: datetime, at: datetime | None) -> float:
    return 0.0 if at is None else (at - since).total_seconds()
