"""Measures the backlog of a partition: the number of records from a position to the end, and the age of the oldest.

On the embedded log a subtraction and one statement suffice. On Kafka offsets have gaps, so the records are read. They
are remembered, and only new ones are read, up to a limit; beyond it the number is estimated from the share of offsets
that held records so far.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from shared.broker.contract import Broker, Reader, Stretch, TopicPartition, Waiting
from shared.database.connection import Link

# The limit of records read and remembered of a partition. Each takes 16 bytes here, but is transferred as a whole.
MOST_RECORDS = 10_000
# A brief measurement (one a second) reads at most this many more records of a partition whose position does not move.
MOST_A_LOOK = 2_000
# For a partition whose position moves, it reads only the first record, for its age, at this interval.
AGE_EVERY_S = 5.0
POLL_S = 0.1
BATCH = 2_000
# Time limits of a measurement: for a caller that waits for the number, and for the heartbeat.
THOROUGH_S, BRIEF_S = 5.0, 1.0


NOTHING = Waiting(0, True, None)


class GaplessBacklog:
    """The backlog on the embedded log. All records of a batch have the same append time."""

    def __init__(self, conninfo: str) -> None:
        self._link = Link(conninfo, "backlog", autocommit=True)

    def look(
        self,
        stretches: Mapping[TopicPartition, Stretch],
        *,
        thorough: bool,  # noqa: ARG002  # part of the interface; here every measurement is exact
    ) -> dict[TopicPartition, Waiting]:
        behind = {tp: position for tp, (position, end) in stretches.items() if position < end}
        held = self._held(behind) if behind else {}
        found = dict.fromkeys(stretches, NOTHING)
        for tp, (begin, oldest_ms) in held.items():
            position, end = stretches[tp]
            if oldest_ms is not None:
                found[tp] = Waiting(end - max(position, begin), True, oldest_ms)
        return found

    def close(self) -> None:
        self._link.drop()

    def _held(self, positions: Mapping[TopicPartition, int]) -> dict[TopicPartition, tuple[int, int | None]]:
        """Per partition, its begin offset (retention may have passed the position) and the append time in Unix ms of
        the first record at or after the position."""
        wanted = [(*tp, offset) for tp, offset in positions.items()]
        with self._link.use() as connection:
            found = connection.execute(
                "SELECT w.name, w.p, part.begin_off, ("
                "   SELECT first_ms FROM broker.log l WHERE l.topic_id = t.id AND l.p = w.p"
                "   AND l.base_off >= coalesce((SELECT max(base_off) FROM broker.log h"
                "     WHERE h.topic_id = t.id AND h.p = w.p AND h.base_off <= w.off), 0)"
                "   AND l.base_off + l.n > w.off ORDER BY l.base_off LIMIT 1)"
                " FROM unnest(%s::text[], %s::int[], %s::bigint[]) AS w(name, p, off)"
                " JOIN broker.topics t ON t.name = w.name"
                " JOIN broker.partitions part ON part.topic_id = t.id AND part.p = w.p",
                [list(column) for column in zip(*wanted, strict=True)],
            ).fetchall()
        return {TopicPartition(name, p): (begin, oldest_ms) for name, p, begin, oldest_ms in found}


@dataclass
class _Seen:
    """The records of one partition from `begin` to before `read_to` as (offset, append time in ms), and the counts of
    records and offsets so far, for the estimate."""

    begin: int
    read_to: int
    known: deque[tuple[int, int]] = field(default_factory=deque)
    records: int = 0
    offsets: int = 0
    aged_at_s: float = 0.0
    oldest_ms: int | None = None

    def move(self, position: int) -> None:
        """Drop the records before the position."""
        if not self.begin <= position <= self.read_to:
            self.known.clear()
            self.read_to = position
        self.begin = position
        while self.known and self.known[0][0] < position:
            self.known.popleft()
        if self.known:
            self.oldest_ms = self.known[0][1]

    def take(self, found: list[tuple[int, int]], read_to: int) -> None:
        self.known.extend(found)
        self.records += len(found)
        self.offsets += max(0, read_to - self.read_to)
        self.read_to = max(self.read_to, read_to)
        if self.known:
            self.oldest_ms, self.aged_at_s = self.known[0][1], time.monotonic()

    def waiting(self, end: int) -> Waiting:
        if self.read_to >= end:
            inside = sum(offset < end for offset, _ in self.known)
            return Waiting(inside, True, self.known[0][1]) if inside else NOTHING
        density = self.records / self.offsets if self.offsets else 1.0
        more = round((end - self.read_to) * density)
        return Waiting(len(self.known) + more, False, self.oldest_ms)


class ReadBacklog:
    """The backlog on Kafka. Thread-safe; it has a reader of its own."""

    def __init__(self, broker: Broker, most: int = MOST_RECORDS) -> None:
        self._broker = broker
        self._most = most
        self._lock = threading.Lock()
        self._seen: dict[TopicPartition, _Seen] = {}
        self._reader: tuple[frozenset[TopicPartition], Reader] | None = None

    def look(self, stretches: Mapping[TopicPartition, Stretch], *, thorough: bool) -> dict[TopicPartition, Waiting]:
        with self._lock:
            targets: dict[TopicPartition, int] = {}
            for tp, (position, end) in stretches.items():
                seen = self._seen.setdefault(tp, _Seen(position, position))
                stands = seen.begin == position
                seen.move(position)
                most = self._wanted(seen, stands=stands, thorough=thorough)
                if position < end and seen.read_to < end and most > len(seen.known):
                    targets[tp] = most
            if targets:
                self._read(targets, stretches, THOROUGH_S if thorough else BRIEF_S)
            return {
                tp: self._seen[tp].waiting(end) if position < end else NOTHING
                for tp, (position, end) in stretches.items()
            }

    def close(self) -> None:
        with self._lock:
            self._drop_reader()

    def _wanted(self, seen: _Seen, *, stands: bool, thorough: bool) -> int:
        """How many records of a partition to know: all if `thorough`; some more if its position does not move;
        otherwise now and then the first, for its age."""
        if thorough:
            return self._most
        if stands:
            return min(self._most, len(seen.known) + MOST_A_LOOK)
        return 1 if time.monotonic() > seen.aged_at_s + AGE_EVERY_S else 0

    def _read(
        self, targets: Mapping[TopicPartition, int], stretches: Mapping[TopicPartition, Stretch], limit_s: float
    ) -> None:
        deadline = time.monotonic() + limit_s
        reader = self._reader_of(frozenset(stretches))
        for tp, (_, end) in stretches.items():
            reader.seek(tp, self._seen[tp].read_to if tp in targets else end)
        open_tps = set(targets)
        while open_tps and time.monotonic() < deadline:
            found: dict[TopicPartition, list[tuple[int, int]]] = {}
            more = sum(targets[tp] - len(self._seen[tp].known) for tp in open_tps)
            for record in reader.poll(POLL_S, min(BATCH, more)):
                found.setdefault(TopicPartition(record.topic, record.partition), []).append(
                    (record.offset, record.timestamp_ms)
                )
            for tp in sorted(open_tps):
                self._seen[tp].take(found.get(tp, []), reader.position(tp))
                if self._seen[tp].read_to >= stretches[tp][1] or len(self._seen[tp].known) >= targets[tp]:
                    open_tps.discard(tp)

    def _reader_of(self, tps: frozenset[TopicPartition]) -> Reader:
        if self._reader is None or self._reader[0] != tps:
            self._drop_reader()
            self._reader = (tps, self._broker.reader(sorted(tps)))
        return self._reader[1]

    def _drop_reader(self) -> None:
        if self._reader is not None:
            self._reader[1].close()
            self._reader = None
