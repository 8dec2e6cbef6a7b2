"""Keeps a loop a member of its group while a slow handler works in a thread (docs/adr/0008)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from shared.broker.contract import Consumer, TopicPartition
from shared.errors import TransientError
from shared.runtime.control.partition_gate import PartitionGate
from shared.runtime.loops.worker_thread import MAX_CALL_S

# After a stop, the open unit may take this long; less than the process has for its end (run.GRACE_S).
STOP_S = 3.0
POLL_S = 0.1


class GroupMembership:
    """Of one unit, for the loop's thread.

    An error of a poll is kept until the handler has returned, because two handlers must never run at once: `check`
    raises it.
    """

    def __init__(
        self, consumer: Consumer, gate: PartitionGate, stopping: threading.Event, tick: Callable[[], None]
    ) -> None:
        self._consumer = consumer
        self._gate = gate
        self._stopping = stopping
        self._tick = tick
        self._poll_error: Exception | None = None
        self._stopping_since_s: float | None = None

    def keep(self, took_s: float) -> None:
        """Poll once. A group that rebalances waits for all of its members."""
        self._abandon_late()
        if took_s > MAX_CALL_S:
            return
        try:
            if self._poll_error is None:
                self._poll()
        except Exception as error:  # noqa: BLE001  # `check` raises it
            self._poll_error = error
        self._gate.assign(self._consumer)
        self._tick()

    def check(self) -> None:
        if self._poll_error is not None:
            raise self._poll_error

    def _poll(self) -> None:
        """Records of a partition that was assigned in this poll are put back."""
        for each in reversed(self._gate.poll_paused(self._consumer, POLL_S).records):
            self._consumer.seek(TopicPartition(each.topic, each.partition), each.offset)
        self._gate.pause_all(self._consumer)

    def _abandon_late(self) -> None:
        """A stop waits for the open unit, but only so long."""
        if not self._stopping.is_set():
            return
        now_s = time.monotonic()
        self._stopping_since_s = self._stopping_since_s or now_s
        if now_s - self._stopping_since_s > STOP_S:
            raise TransientError("stopped while the handler worked; the open unit never happened")
