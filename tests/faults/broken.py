"""Units that break their promise on purpose: with each of them the suite must fail."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import count
from types import TracebackType
from typing import Self, cast

from shared.broker.contract import (
    DatabaseUnit,
    DbConnection,
    NewRecord,
    Ownership,
    Producer,
    TopicPartition,
    Unit,
)
from tests.faults.points import Mine
from tests.faults.schedule import Point

# The first units of a service are small; one of the later ones is ignored, and again and again.
IGNORED_EVERY = 4


class _Whole:
    """Passes everything on; what is broken overrides."""

    def __init__(self, inner: Unit, early: Callable[[], Unit], mine: Mine, number: int) -> None:
        self._inner = inner
        self._early = early
        self._mine = mine
        self._number = number

    @property
    def connection(self) -> DbConnection:
        return cast("DatabaseUnit", self._inner).connection

    def append(self, records: Sequence[NewRecord]) -> None:
        self._inner.append(records)

    def advance(self, token: Ownership, offsets: Mapping[TopicPartition, int], ctl_seq: int | None = None) -> None:
        self._inner.advance(token, offsets, ctl_seq)

    def cursor_set(self, topic: str, key: str, value: bytes) -> None:
        self._inner.cursor_set(topic, key, value)

    def commit(self) -> None:
        self._inner.commit()

    def abort(self) -> None:
        self._inner.abort()

    def __enter__(self) -> Self:
        self._inner.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._inner.__exit__(kind, error, trace)


class AdvancedFirst(_Whole):
    """Positions move in a unit of their own before the records are appended: a crash between loses records."""

    def advance(self, token: Ownership, offsets: Mapping[TopicPartition, int], ctl_seq: int | None = None) -> None:
        with self._early() as early:
            early.advance(token, offsets, ctl_seq)
            early.commit()
        self._mine.passing(Point.BETWEEN_HALVES)


class AppendedFirst(_Whole):
    """Records are appended in a unit of their own before positions move: a crash between tells them twice."""

    def append(self, records: Sequence[NewRecord]) -> None:
        with self._early() as early:
            early.append(records)
            early.commit()
        self._mine.passing(Point.BETWEEN_HALVES)


class CommitIgnored(_Whole):
    """Every now and then a commit does nothing and says nothing."""

    def commit(self) -> None:
        if self._number % IGNORED_EVERY == IGNORED_EVERY - 1:
            self._inner.abort()
        else:
            self._inner.commit()


BROKEN: dict[str, type[_Whole]] = {
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
