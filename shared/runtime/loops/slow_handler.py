"""Keeps a loop in its group while a slow handler works in a thread (docs/adr/0008)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from shared.broker.contract import Consumer, TopicPartition
from shared.errors import TransientError
from shared.runtime.control.partition_gate import PartitionGate
from shared.runtime.loops.worker_thread import MAX_CALL_S

# After a stop, the open unit may take this long. Less than the grace period of the process (run.GRACE_S).
STOP_S = 3.0
POLL_S = 0.1


class GroupMembership:
    """Keeps the membership during one unit. Used by the loop's thread.

    An error of a poll is kept until the handler has returned, and then raised by `check`, because two handlers must
    never run at the same time.
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
        """Poll once, because a rebalance waits for all members of the group. `took_s`: the handler's time so far."""
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
        """Seek back if the poll returns records, which happens only for a partition assigned in this poll."""
        for each in reversed(self._gate.poll_paused(self._consumer, POLL_S).records):
            self._consumer.seek(TopicPartition(each.topic, each.partition), each.offset)
        self._gate.pause_all(self._consumer)

    def _abandon_late(self) -> None:
        """Raises TransientError if the open unit takes longer than STOP_S after a stop."""
        if not self._stopping.is_set():
            return
        now_s = time.monotonic()
        self._stopping_since_s = self._stopping_since_s or now_s
        if now_s - self._stopping_since_s > STOP_S:
            raise TransientError(f"the handler did not return within {STOP_S:g} s after a stop; its unit was discarded")
