"""The control thread of a replica: reads what is wanted, says what its loop does about it, ends what is done.

It has a connection of its own. While the database is away, the last known orders hold, and it keeps trying.
"""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from uuid import UUID

import psycopg
import structlog

from shared.database.connection import DbConnection, Link, first_line
from shared.errors import TransientError
from shared.ops.tables import operations as operations_table
from shared.ops.tables import orders as orders_table
from shared.ops.tables.steering import Partitions, settle
from shared.runtime.control.mailbox import Standing, Steering

# A NOTIFY that was missed is made up for so soon.
LOOK_EVERY_S = 1.0
# What was reported is said again so soon, should somebody have removed it.
REPORT_EVERY_S = 3.0
# Until the heartbeat has written this replica's row, there is nobody to speak for.
UNREGISTERED_S = 0.1
# How soon it sees that it is to end.
STOP_S = 0.2
# A question that is not answered within this is given up, and so is its connection.
ANSWER_S = 5.0

log = structlog.get_logger(__name__)


class Control:
    """`run` is work beside a loop (run.Background)."""

    def __init__(
        self,
        conninfo: str,
        service: str,
        replica: str,
        incarnation: UUID,
        steering: Steering,
        partitions: Callable[[DbConnection], Partitions],
        answer_s: float = ANSWER_S,
    ) -> None:
        """`incarnation`: as the heartbeat of this process says (replicas.py); `partitions`: of what can be paused."""
        self._who = (service, replica, incarnation)
        self._service = service
        self._steering = steering
        self._partitions = partitions
        limit = {"statement_timeout": f"{answer_s * 1000:.0f}ms"}
        self._link = Link(conninfo, f"{service} control", autocommit=True, settings=limit, answer_s=answer_s)
        self._listening_on = 0
        self._registered = False
        self._reported: Standing | None = None
        self._reported_at_s = 0.0
        self._woken, self._waker = socket.socketpair()
        self._woken.setblocking(False)
        self._waker.setblocking(False)
        self._reachable = True

    def run(self, stop: threading.Event) -> None:
        self._steering.on_news(self._wake)
        while not stop.is_set():
            self._wait(stop, self._try(self._round))
        if self._reachable:
            self._try(self._end)
        self._link.drop()
        self._woken.close()
        self._waker.close()

    def _try(self, work: Callable[[], float]) -> float:
        """Do it; how long to wait after it. Trouble is told once."""
        try:
            wait_s = work()
        except (TransientError, psycopg.Error) as error:
            if self._reachable:
                log.warning("control does not reach the database; the last known orders hold", cause=first_line(error))
            self._reachable = False
            return LOOK_EVERY_S
        self._reachable = True
        return wait_s

    def _round(self) -> float:
        """Look once at everything. Orders are read only after everybody can see that this replica is there."""
        read_at = time.monotonic()
        with self._link.use() as connection:
            self._listen(connection)
            if not self._speaks(connection):
                return UNREGISTERED_S
            self._steering.give(orders_table.read_orders(connection, self._service), read_at)
            self._report(connection)
            with connection.transaction():
                settle(connection, self._service, self._partitions(connection))
            return 0.0 if _told(connection) else LOOK_EVERY_S

    def _speaks(self, connection: DbConnection) -> bool:
        with connection.transaction():
            if self._registered and orders_table.refresh(connection, *self._who):
                return True
            self._reported = None
            self._registered = orders_table.forget(connection, *self._who)
        return self._registered

    def _report(self, connection: DbConnection) -> None:
        standing = self._steering.standing()
        now_s = time.monotonic()
        if standing is None or (standing == self._reported and now_s < self._reported_at_s + REPORT_EVERY_S):
            return
        with connection.transaction():
            done = orders_table.report(connection, *self._who, standing.seq, standing.partitions)
        self._reported, self._reported_at_s = (standing, now_s) if done else (None, 0.0)

    def _end(self) -> float:
        """The loop may still finish a unit; it begins none, and what comes after obeys no order of ours."""
        with self._link.use() as connection, connection.transaction():
            orders_table.forget(connection, *self._who)
        return 0.0

    def _listen(self, connection: DbConnection) -> None:
        """A new connection has to say it again. What was heard so far is seen by the looks that follow."""
        if self._listening_on != connection.info.backend_pid:
            for channel in (orders_table.CHANNEL, operations_table.CHANNEL):
                connection.execute(f"LISTEN {channel}")
            self._listening_on = connection.info.backend_pid
        _told(connection)

    def _wait(self, stop: threading.Event, wait_s: float) -> None:
        """Until the database or the loop has news, or the time is over."""
        until = time.monotonic() + wait_s
        while not stop.is_set() and (left_s := until - time.monotonic()) > 0:
            lines: list[int] = [self._woken.fileno()]
            with suppress(TransientError, psycopg.Error):
                if self._reachable:
                    lines.append(self._link.connection().fileno())
            if select.select(lines, [], [], min(left_s, STOP_S))[0]:
                with suppress(BlockingIOError):
                    self._woken.recv(4096)
                return

    def _wake(self) -> None:
        with suppress(OSError):  # full: it is awake; closed: it has ended
            self._waker.send(b"\0")


def _told(connection: DbConnection) -> bool:
    """Whether the database had something to tell; forgets it."""
    return any([True for _ in connection.notifies(timeout=0)])  # noqa: C419  # all of them, not only the first
