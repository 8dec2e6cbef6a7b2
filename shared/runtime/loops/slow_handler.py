"""Handlers that may take long: they work aside, and the loop remains a member of its group (docs/adr/0008)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from shared.broker.contract import Consumer, NewRecord, TopicPartition
from shared.errors import TransientError
from shared.records import Received
from shared.runtime.control.partition_gate import Holding
from shared.runtime.loops.handler import Handle
from shared.runtime.loops.worker_thread import Aside

# A handler may take this long; after that the loop ticks no more, and the watchdog ends the process.
LONGEST_S = 600.0
# So long a unit may take to end once the loop is to stop; less than the process has for that (run.GRACE_S).
LAST_S = 3.0
POLL_S = 0.1


class Patience:
    """For the loop's thread. What polling raises meanwhile is kept until the handler has ended, for two of them at once
    must never be: `check` raises it."""

    def __init__(
        self, name: str, holding: Holding, stopping: threading.Event, note: Callable[[Consumer], None]
    ) -> None:
        """`note` is told after each poll: the loop gets on, and its partitions may be others."""
        self._aside = Aside(name)
        self._holding = holding
        self._stopping = stopping
        self._note = note
        self._strayed: Exception | None = None
        self._stopping_since_s: float | None = None

    def handle(self, handle: Handle, batch: Sequence[Received], consumer: Consumer) -> Sequence[NewRecord]:
        return self._aside.call(lambda: handle(batch), lambda took_s: self._stay(consumer, took_s))

    def check(self) -> None:
        strayed, self._strayed = self._strayed, None
        if strayed is not None:
            raise strayed

    def forget(self) -> None:
        self._strayed = None

    def close(self) -> None:
        self._aside.close()

    def _stay(self, consumer: Consumer, took_s: float) -> None:
        """Remain a member: a group that shares out anew waits for all of its members."""
        self._give_up_late()
        if took_s > LONGEST_S:
            return
        try:
            if self._strayed is None:
                self._poll(consumer)
        except Exception as error:  # noqa: BLE001  # `check` raises it
            self._strayed = error
        self._note(consumer)

    def _poll(self, consumer: Consumer) -> None:
        """With everything paused. Records of a partition that came just then are put back, to be polled again."""
        self._holding.rest(consumer)
        first: dict[TopicPartition, int] = {}
        for each in consumer.poll(POLL_S, 1).records:
            first.setdefault(TopicPartition(each.topic, each.partition), each.offset)
        for tp, offset in first.items():
            consumer.seek(tp, offset)
        self._holding.rest(consumer)

    def _give_up_late(self) -> None:
        """A stop waits for the open unit, but not for ever."""
        if not self._stopping.is_set():
            return
        now_s = time.monotonic()
        self._stopping_since_s = self._stopping_since_s or now_s
        if now_s - self._stopping_since_s > LAST_S:
            raise TransientError("stopped while the handler worked; the open unit never happened")
