"""Tells bad data from a bug of ours: many records that fail unexpectedly, close together, are a bug. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shared.broker.contract import Record
from shared.errors import HeadraceError, InvalidEvent

# More unexpected errors than MOST among any LAST records in a row: stop, do not fill the dead letters with good ones.
MOST = 20
LAST = 100


@dataclass(frozen=True)
class Breaker:
    """How the last records went, oldest first; True is an unexpected failure."""

    recent: tuple[bool, ...] = ()

    def after(self, records: Sequence[Record], failed: Sequence[tuple[Record, Exception]]) -> Breaker:
        """The breaker once these are done with. Raises HeadraceError where they show a bug."""
        unexpected = {
            (record.topic, record.partition, record.offset): error
            for record, error in failed
            if not isinstance(error, InvalidEvent)
        }
        if not unexpected:
            return Breaker((*self.recent, *(False for _ in records[-LAST:]))[-LAST:])
        went = [*self.recent, *((each.topic, each.partition, each.offset) in unexpected for each in records)]
        worst = most_in_a_row(went)
        if worst > MOST:
            last = list(unexpected.values())[-1]
            raise HeadraceError(
                f"{worst} of {min(LAST, len(went))} records in a row failed in an unexpected way, last"
                f" {type(last).__name__}: stopped before good records become dead letters"
            ) from last
        return Breaker(tuple(went[-LAST:]))


def most_in_a_row(went: Sequence[bool]) -> int:
    """The most failures among any LAST neighbours."""
    most = count = 0
    for position, bad in enumerate(went):
        count += bad - (position >= LAST and went[position - LAST])
        most = max(most, count)
    return most
