"""Exchanges orders, holds and status between the control thread and the loop's thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from shared.broker.contract import TopicPartition
from shared.ops.holds import Hold, HoldKind
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


@dataclass(frozen=True)
class HoldChanges:
    """The holds that a loop began and ended, and that are not stored yet."""

    began: Mapping[tuple[TopicPartition, HoldKind], Hold] = field(default_factory=dict)
    ended: frozenset[tuple[TopicPartition, HoldKind]] = frozenset()


class ControlMailbox:
    """Thread-safe. `fixed` orders never become stale; without them no orders are known at first."""

    def __init__(self, fixed: Orders | None = None, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._lock = threading.Lock()
        self._orders = fixed
        self._read_at = None if fixed is None else float("inf")
        self._stored_holds: tuple[Hold, ...] = ()
        self._hold_changes = HoldChanges()
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

    def holds(self) -> list[Hold]:
        """The holds as last read, with the changes of this loop."""
        with self._lock:
            began, ended = self._hold_changes.began, self._hold_changes.ended
            keys = began.keys() | ended
            return [*(each for each in self._stored_holds if (each.tp, each.kind) not in keys), *began.values()]

    def set_orders(
        self, orders: Orders, read_at: float, holds: Sequence[Hold] = (), stored: HoldChanges = HoldChanges()
    ) -> None:
        """`read_at` (monotonic, s): taken before the orders were queried. `stored`: the changes that were stored before
        the holds were queried."""
        with self._lock:
            self._orders, self._read_at, self._stored_holds = orders, read_at, tuple(holds)
            began = {key: each for key, each in self._hold_changes.began.items() if stored.began.get(key) != each}
            self._hold_changes = HoldChanges(began, self._hold_changes.ended - stored.ended)

    def begin_hold(self, hold: Hold) -> None:
        """Hold a partition. The control thread stores it."""
        key = (hold.tp, hold.kind)
        with self._lock:
            changes = self._hold_changes
            self._hold_changes = HoldChanges({**changes.began, key: hold}, changes.ended - {key})
        self._wake()

    def end_hold(self, tp: TopicPartition, kind: HoldKind) -> None:
        key = (tp, kind)
        with self._lock:
            began = {each: hold for each, hold in self._hold_changes.began.items() if each != key}
            self._hold_changes = HoldChanges(began, self._hold_changes.ended | {key})
        self._wake()

    def hold_changes(self) -> HoldChanges:
        """The changes that are not stored yet."""
        with self._lock:
            return self._hold_changes

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
