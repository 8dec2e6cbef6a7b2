"""Kills the process at a named point of a unit's life. The broker is the real one with wrapped producers.

A file with a point and a number arms it: the process that reaches this point for that time removes the file and dies.
"""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from shared.broker.contract import Broker, DatabaseUnit, NewRecord, Producer, Unit
from tests.faults.delegating_unit import DelegatingUnit
from tests.faults.schedule import Point
from tests.faults.supply import Permits

# A commit takes some milliseconds.
DURING_S = 0.003


class KillPoints:
    """The kill points of one process, armed by its file."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._armed = ""
        self._passed = 0

    def reach(self, point: Point) -> None:
        """Kill the process if its file names this point, and the point is reached often enough."""
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


class UnitWithKillPoints(DelegatingUnit):
    """A unit that reaches the points."""

    def __init__(self, inner: Unit, kill_points: KillPoints) -> None:
        super().__init__(inner)
        self._kill_points = kill_points

    def append(self, records: Sequence[NewRecord]) -> None:
        self._kill_points.reach(Point.BEFORE_APPEND)
        self._inner.append(records)
        self._kill_points.reach(Point.AFTER_APPEND)

    def commit(self) -> None:
        self._kill_points.reach(Point.BEFORE_COMMIT)
        self._kill_points.reach(Point.DURING_COMMIT)
        self._inner.commit()
        self._kill_points.reach(Point.AFTER_COMMIT)


class ProducerWithKillPoints:
    """A producer of units with kill points. `permits`: each unit takes one."""

    def __init__(self, inner: Producer, kill_points: KillPoints, permits: Permits | None) -> None:
        self._inner = inner
        self._kill_points = kill_points
        self._permits = permits

    def unit(self) -> Unit:
        self._take_permit()
        return UnitWithKillPoints(self._inner.unit(), self._kill_points)

    def db_unit(self) -> DatabaseUnit:
        self._take_permit()
        return UnitWithKillPoints(self._inner.db_unit(), self._kill_points)

    def verify(self) -> None:
        self._inner.verify()

    def close(self) -> None:
        self._inner.close()

    def _take_permit(self) -> None:
        if self._permits is not None:
            self._permits.take()


class ProducerBroker:
    """A broker with wrapped producers; everything else is delegated to the real one."""

    def __init__(self, inner: Broker, wrap: Callable[[Broker, str, bool], Producer]) -> None:
        self._inner = inner
        self._wrap = wrap

    def producer(self, slot: str, *, in_database: bool = False) -> Producer:
        return self._wrap(self._inner, slot, in_database)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)
