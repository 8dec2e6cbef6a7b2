"""Runs the control thread of a replica: it reads orders, stores and reads holds, reports the loop's status, and
ends operations that are done.

It has its own connection. While the database is unavailable, it keeps trying and the last known orders apply.
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

from shared.database.connection import DbConnection, first_line, limited_connection
from shared.errors import TransientError
from shared.ops.tables import holds as holds_table
from shared.ops.tables import operations as operations_table
from shared.ops.tables import orders as orders_table
from shared.ops.tables.steering import Partitions, finish_effective
from shared.runtime.control.mailbox import ControlMailbox, HoldChanges, LoopStatus

# The database is read at this interval, because a NOTIFY may be missed.
POLL_INTERVAL_S = 1.0
# An unchanged report is repeated at this interval, in case it was removed.
REPORT_EVERY_S = 3.0
# The retry interval until the heartbeat has written this replica's row.
UNREGISTERED_S = 0.1
# The limit until a stop is noticed.
STOP_S = 0.2
# A statement without an answer for this long is cancelled, and its connection is dropped.
ANSWER_S = 5.0

log = structlog.get_logger(__name__)


class ControlThread:
    """`run` is a background task (exit_codes.Background)."""

    def __init__(
        self,
        conninfo: str,
        service: str,
        replica: str,
        incarnation: UUID,
        mailbox: ControlMailbox,
        partitions: Callable[[DbConnection], Partitions],
        answer_s: float = ANSWER_S,
    ) -> None:
        """`incarnation`: the one in this process's heartbeat (replicas.py). `partitions`: reads the partitions of the
        topics that can be paused."""
        self._identity = (service, replica, incarnation)
        self._service = service
        self._mailbox = mailbox
        self._partitions = partitions
        self._link = limited_connection(conninfo, f"{service} control", answer_s)
        self._listening_on = 0
        self._registered = False
        self._reported: LoopStatus | None = None
        self._reported_at_s = 0.0
        self._woken, self._waker = socket.socketpair()
        self._woken.setblocking(False)
        self._waker.setblocking(False)
        self._reachable = True

    def run(self, stop: threading.Event) -> None:
        self._mailbox.on_status_change(self._wake)
        while not stop.is_set():
            self._wait(stop, self._try(self._run_round))
        if self._reachable:
            self._try(self._unregister)
        self._link.drop()
        self._woken.close()
        self._waker.close()

    def _try(self, work: Callable[[], float]) -> float:
        """Call `work`; returns how long to wait after it, in seconds. Logs a failure once until the next success."""
        try:
            wait_s = work()
        except (TransientError, psycopg.Error) as error:
            if self._reachable:
                log.warning("control_round_failed", cause=first_line(error))
            self._reachable = False
            return POLL_INTERVAL_S
        self._reachable = True
        return wait_s

    def _run_round(self) -> float:
        """One round: read orders, report the status, end operations. Orders are read only after this replica is
        registered, so that new orders wait for it."""
        read_at = time.monotonic()
        with self._link.use() as connection:
            self._listen(connection)
            if not self._register(connection):
                return UNREGISTERED_S
            self._exchange(connection, read_at)
            self._report(connection)
            with connection.transaction():
                finish_effective(connection, self._service, self._partitions(connection))
            return 0.0 if _discard_notifications(connection) else POLL_INTERVAL_S

    def _exchange(self, connection: DbConnection, read_at: float) -> None:
        """Store the loop's changes of holds, then read holds and orders. Holds are read first, so that a hold ends
        together with the order that ends it."""
        stored = self._store_holds(connection)
        holds = holds_table.holds(connection, self._service)
        self._mailbox.set_orders(orders_table.read_orders(connection, self._service), read_at, holds, stored)

    def _store_holds(self, connection: DbConnection) -> HoldChanges:
        changes = self._mailbox.hold_changes()
        if changes.began or changes.ended:
            with connection.transaction():
                for hold in changes.began.values():
                    holds_table.hold(connection, self._service, hold)
                for tp, kind in changes.ended:
                    holds_table.release(connection, self._service, tp, kind)
        return changes

    def _register(self, connection: DbConnection) -> bool:
        with connection.transaction():
            if self._registered and orders_table.heartbeat(connection, *self._identity):
                return True
            self._reported = None
            self._registered = orders_table.forget(connection, *self._identity)
        return self._registered

    def _report(self, connection: DbConnection) -> None:
        status = self._mailbox.status()
        now_s = time.monotonic()
        if status is None or (status == self._reported and now_s < self._reported_at_s + REPORT_EVERY_S):
            return
        with connection.transaction():
            done = orders_table.report_status(connection, *self._identity, status.seq, status.partitions)
        self._reported, self._reported_at_s = (status, now_s) if done else (None, 0.0)

    def _unregister(self) -> float:
        """Withdraw the report. The loop may still finish a unit but begins none."""
        with self._link.use() as connection, connection.transaction():
            self._store_holds(connection)
            orders_table.forget(connection, *self._identity)
        return 0.0

    def _listen(self, connection: DbConnection) -> None:
        """Repeat LISTEN on a new connection. Pending notifications are discarded: the reads that follow see the
        changes."""
        if self._listening_on != connection.info.backend_pid:
            for channel in (orders_table.CHANNEL, operations_table.CHANNEL):
                connection.execute(f"LISTEN {channel}")
            self._listening_on = connection.info.backend_pid
        _discard_notifications(connection)

    def _wait(self, stop: threading.Event, wait_s: float) -> None:
        """Wait for a notification, a wake-up by the loop, or the timeout."""
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
        with suppress(OSError):  # full: it is awake already; closed: it has ended
            self._waker.send(b"\0")


def _discard_notifications(connection: DbConnection) -> bool:
    """Discard the pending notifications; returns whether there were any."""
    return any([True for _ in connection.notifies(timeout=0)])  # noqa: C419  # all of them, not only the first
