"""Named points of a unit's life: a broker that is the real one, except that the process dies where it was told to.

Armed by a file that holds a point and a number; whoever comes by that point for that time removes it and dies.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from shared.broker.contract import Broker, DatabaseUnit, NewRecord, Producer, Unit
from tests.faults.passed_on import PassedOn
from tests.faults.schedule import Point

# A commit takes some milliseconds.
DURING_S = 0.003


class Mine:
    """The points of one process, armed by a file of its own."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._armed = ""
        self._passed = 0

    def passing(self, point: Point) -> None:
        """Die here if this is the point, and the time, that was named."""
        try:
            armed = self._file.read_text()
        except FileNotFoundError:
            return
        if armed != self._armed:
            self._armed, self._passed = armed, 0
        name, _, nth = armed.rpartition("/")
        self._passed += name == point
        if name == point and self._passed >= int(nth):
            self._file.unlink()
            if point is not Point.DURING_COMMIT:
                os.kill(os.getpid(), signal.SIGKILL)
            threading.Timer(random.uniform(0, DURING_S), os.kill, (os.getpid(), signal.SIGKILL)).start()


class MinedUnit(PassedOn):
    """A unit that comes by the points."""

    def __init__(self, inner: Unit, mine: Mine) -> None:
        super().__init__(inner)
        self._mine = mine

    def append(self, records: Sequence[NewRecord]) -> None:
        self._mine.passing(Point.BEFORE_APPEND)
        self._inner.append(records)
        self._mine.passing(Point.AFTER_APPEND)

    def commit(self) -> None:
        self._mine.passing(Point.BEFORE_COMMIT)
        self._mine.passing(Point.DURING_COMMIT)
        self._inner.commit()
        self._mine.passing(Point.AFTER_COMMIT)


class Pace:
    """How long to wait before a unit, as a file says that may change at any time."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def wait(self) -> None:
        began_s = time.monotonic()
        while (left_s := self._unit_s() - (time.monotonic() - began_s)) > 0:
            time.sleep(min(0.1, left_s))

    def _unit_s(self) -> float:
        try:
            return float(self._file.read_text() or 0)
        except FileNotFoundError:
            return 0.0


class MinedProducer:
    """A producer of mined units."""

    def __init__(self, inner: Producer, mine: Mine, pace: Pace) -> None:
        self._inner = inner
        self._mine = mine
        self._pace = pace

    def unit(self) -> Unit:
        self._pace.wait()
        return MinedUnit(self._inner.unit(), self._mine)

    def db_unit(self) -> DatabaseUnit:
        self._pace.wait()
        return MinedUnit(self._inner.db_unit(), self._mine)

    def close(self) -> None:
        self._inner.close()


class ProducerBroker:
    """A broker whose producers are wrapped; everything else is the inner one's."""

    def __init__(self, inner: Broker, wrap: Callable[[Broker, str, bool], Producer]) -> None:
        self._inner = inner
        self._wrap = wrap

    def producer(self, slot: str, *, in_database: bool = False) -> Producer:
        return self._wrap(self._inner, slot, in_database)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)
