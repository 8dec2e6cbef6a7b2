"""Units that break their promise on purpose: with each of them the suite must fail."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import count

from shared.broker.contract import DatabaseUnit, NewRecord, Ownership, Producer, TopicPartition, Unit
from tests.faults.passed_on import PassedOn
from tests.faults.points import Mine
from tests.faults.schedule import Point

# The first units of a service are small; one of the later ones is ignored, and again and again.
IGNORED_EVERY = 4


class _Breakable(PassedOn):
    """A unit with another at hand, for what shall come too early."""

    def __init__(self, inner: Unit, early: Callable[[], Unit], mine: Mine, number: int) -> None:
        super().__init__(inner)
        self._early = early
        self._mine = mine
        self._number = number


class AdvancedFirst(_Breakable):
    """Positions move in a unit of their own before the records are appended: a crash between loses records."""

    def advance(self, token: Ownership, offsets: Mapping[TopicPartition, int], ctl_seq: int | None = None) -> None:
        with self._early() as early:
            early.advance(token, offsets, ctl_seq)
            early.commit()
        self._mine.passing(Point.BETWEEN_HALVES)


class AppendedFirst(_Breakable):
    """Records are appended in a unit of their own before positions move: a crash between tells them twice."""

    def append(self, records: Sequence[NewRecord]) -> None:
        with self._early() as early:
            early.append(records)
            early.commit()
        self._mine.passing(Point.BETWEEN_HALVES)


class CommitIgnored(_Breakable):
    """Every now and then a commit does nothing and says nothing."""

    def commit(self) -> None:
        if self._number % IGNORED_EVERY == IGNORED_EVERY - 1:
            self._inner.abort()
        else:
            self._inner.commit()


BROKEN: dict[str, type[_Breakable]] = {
    "advance-first": AdvancedFirst,
    "append-first": AppendedFirst,
    "commit-ignored": CommitIgnored,
}


class BrokenProducer:
    """Makes units of a broken kind; the second producer makes the units that come too early."""

    def __init__(self, make: Callable[[str], Producer], slot: str, kind: str, mine: Mine) -> None:
        self._inner = make(slot)
        self._second = make(f"{slot}-early")
        self._kind = BROKEN[kind]
        self._mine = mine
        self._numbers = count()

    def unit(self) -> Unit:
        return self._kind(self._inner.unit(), self._second.unit, self._mine, next(self._numbers))

    def db_unit(self) -> DatabaseUnit:
        return self._kind(self._inner.db_unit(), self._second.db_unit, self._mine, next(self._numbers))

    def close(self) -> None:
        self._inner.close()
        self._second.close()
