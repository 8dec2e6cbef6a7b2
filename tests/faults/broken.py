"""Units that break their guarantee on purpose: with each of them the suite must fail."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import count

from shared.broker.contract import DatabaseUnit, NewRecord, Ownership, Producer, TopicPartition, Unit
from tests.faults.delegating_unit import DelegatingUnit
from tests.faults.points import KillPoints
from tests.faults.schedule import Point

# Every fourth unit is ignored, and not the first one, because the first units of a service are small.
IGNORED_EVERY = 4


class _Breakable(DelegatingUnit):
    """A unit that can open a second one, to commit one half of its work too early."""

    def __init__(self, inner: Unit, open_early_unit: Callable[[], Unit], kill_points: KillPoints, number: int) -> None:
        super().__init__(inner)
        self._open_early_unit = open_early_unit
        self._kill_points = kill_points
        self._number = number


class AdvancedFirst(_Breakable):
    """Advances the positions in a separate unit before it appends the records: a crash in between loses records."""

    def advance(self, token: Ownership, offsets: Mapping[TopicPartition, int], ctl_seq: int | None = None) -> None:
        with self._open_early_unit() as early_unit:
            early_unit.advance(token, offsets, ctl_seq)
            early_unit.commit()
        self._kill_points.reach(Point.BETWEEN_HALVES)


class AppendedFirst(_Breakable):
    """Appends the records in a separate unit before it advances positions: a crash in between duplicates records."""

    def append(self, records: Sequence[NewRecord]) -> None:
        with self._open_early_unit() as early_unit:
            early_unit.append(records)
            early_unit.commit()
        self._kill_points.reach(Point.BETWEEN_HALVES)


class CommitIgnored(_Breakable):
    """Silently skips every fourth commit."""

    def commit(self) -> None:
        if self._number % IGNORED_EVERY == IGNORED_EVERY - 1:
            self._inner.abort()
        else:
            self._inner.commit()


class Parks(_Breakable):
    """Leaves every new notification to an operator, as if its sender had been killed: nothing is lost or sent twice,
    and no message arrives."""

    def commit(self) -> None:
        self.connection.execute("UPDATE notifier.ledger SET state = 'unknown' WHERE state = 'pending'")
        self._inner.commit()


BROKEN: dict[str, type[_Breakable]] = {
    "advance-first": AdvancedFirst,
    "append-first": AppendedFirst,
    "commit-ignored": CommitIgnored,
    "parks-all": Parks,
}


class BrokenProducer:
    """Makes units of a broken kind; a second producer makes the units that are committed too early."""

    def __init__(self, make: Callable[[str], Producer], slot: str, kind: str, kill_points: KillPoints) -> None:
        self._inner = make(slot)
        self._second = make(f"{slot}-early")
        self._kind = BROKEN[kind]
        self._kill_points = kill_points
        self._numbers = count()

    def unit(self) -> Unit:
        return self._kind(self._inner.unit(), self._second.unit, self._kill_points, next(self._numbers))

    def db_unit(self) -> DatabaseUnit:
        return self._kind(self._inner.db_unit(), self._second.db_unit, self._kill_points, next(self._numbers))

    def verify(self) -> None:
        self._inner.verify()

    def close(self) -> None:
        self._inner.close()
        self._second.close()
