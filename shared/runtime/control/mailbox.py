"""Exchanges orders and status between the control thread and the loop's thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from shared.broker.contract import TopicPartition
from shared.ops.orders import Orders, PartitionStatus
from shared.ops.tables.orders import FRESH_S

# A loop may start a newly assigned partition only if its orders were read at most this long ago. This is shorter than
# the time after which an order stops waiting for a silent replica (FRESH_S). So an order that did not wait for this
# replica was given after the replica's last read orders had become too old to start a partition.
ORDERS_FRESH_S = FRESH_S - 5.0


@dataclass(frozen=True)
class LoopStatus:
    """The status of each partition that a loop owns, and the number of the newest order that it obeys."""

    seq: int
    partitions: Mapping[TopicPartition, PartitionStatus] = field(default_factory=dict)


class ControlMailbox:
    """Thread-safe. `fixed` orders never become stale; without them no orders are known at first."""

    def __init__(self, fixed: Orders | None = None, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._lock = threading.Lock()
        self._orders = fixed
        self._read_at = None if fixed is None else float("inf")
        self._status: LoopStatus | None = None
        self._wake: Callable[[], None] = lambda: None

    def orders(self) -> Orders | None:
        """The orders as last read; None if they have not been read yet, so nothing may be handled."""
        with self._lock:
            return self._orders

    def is_fresh(self) -> bool:
        """Whether the orders were read recently enough to start a newly assigned partition."""
        with self._lock:
            return self._read_at is not None and self._now_s() - self._read_at < ORDERS_FRESH_S

    def set_orders(self, orders: Orders, read_at: float) -> None:
        """`read_at` (monotonic, s): taken before the orders were queried."""
        with self._lock:
            self._orders, self._read_at = orders, read_at

    def set_status(self, seq: int, partitions: Mapping[TopicPartition, PartitionStatus]) -> None:
        """Called by the loop between two units: it obeys all orders up to `seq`. Wakes the control thread if anything
        but positions has changed."""
        status = LoopStatus(seq, dict(partitions))
        with self._lock:
            previous, self._status = self._status, status
        if _without_positions(previous) != _without_positions(status):
            self._wake()

    def status(self) -> LoopStatus | None:
        """The status that the loop last set; None if it has not set one yet."""
        with self._lock:
            return self._status

    def on_status_change(self, wake: Callable[[], None]) -> None:
        """Register the function to call, in the loop's thread, when the obeyed order or a partition's state changes."""
        self._wake = wake


def _without_positions(status: LoopStatus | None) -> object:
    """The status without the positions, which change with every unit."""
    return status and (status.seq, {tp: doing.state for tp, doing in status.partitions.items()})
