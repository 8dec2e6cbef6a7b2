"""Where the loop's thread and the control thread meet: orders one way, what the loop does about them the other."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from shared.broker.contract import TopicPartition
from shared.ops.orders import Doing, Orders
from shared.ops.tables.orders import FRESH_S

# A partition may be begun under orders that were read at most so long ago. Less than the time after which an order no
# longer waits for a silent replica: an order that did not wait for this replica was given after the orders that it last
# read had become too old to begin under.
ORDERS_FRESH_S = FRESH_S - 5.0


@dataclass(frozen=True)
class Standing:
    """What a loop does, having obeyed orders up to `seq`: for each partition that it owns."""

    seq: int
    partitions: Mapping[TopicPartition, Doing] = field(default_factory=dict)


class Steering:
    """Any thread may call any of this. `fixed` orders are never read again; without them there are none at first."""

    def __init__(self, fixed: Orders | None = None, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._lock = threading.Lock()
        self._orders = fixed
        self._read_at = None if fixed is None else float("inf")
        self._standing: Standing | None = None
        self._wake: Callable[[], None] = lambda: None

    def orders(self) -> Orders | None:
        """What is wanted, as last read; None: nobody knows yet, so nothing may be handled."""
        with self._lock:
            return self._orders

    def is_fresh(self) -> bool:
        """Whether the orders were read so recently that a partition may be begun under them."""
        with self._lock:
            return self._read_at is not None and self._now_s() - self._read_at < ORDERS_FRESH_S

    def give(self, orders: Orders, read_at: float) -> None:
        """`read_at` (monotonic): from before they were asked for."""
        with self._lock:
            self._orders, self._read_at = orders, read_at

    def obey(self, seq: int, partitions: Mapping[TopicPartition, Doing]) -> None:
        """Said by the loop between two units: nothing that is under way contradicts orders up to `seq`."""
        standing = Standing(seq, dict(partitions))
        with self._lock:
            before, self._standing = self._standing, standing
        if _outline(before) != _outline(standing):
            self._wake()

    def standing(self) -> Standing | None:
        """What the loop last said; None before it said anything."""
        with self._lock:
            return self._standing

    def on_news(self, wake: Callable[[], None]) -> None:
        """Call this, in the loop's thread, when it obeys something new or its partitions change."""
        self._wake = wake


def _outline(standing: Standing | None) -> object:
    """All but the positions, which move with every unit."""
    return standing and (standing.seq, {tp: doing.state for tp, doing in standing.partitions.items()})
