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

from shared.broker.contract import Broker, PartitionBacklog, PositionAndEnd, Reader, TopicPartition
from shared.database.connection import ReconnectingConnection

# The limit of records read and remembered of a partition. Each takes 16 bytes here, but is transferred as a whole.
MAX_RECORDS = 10_000
# A brief measurement (one a second) reads at most this many more records of a partition whose position does not move.
MAX_PER_MEASUREMENT = 2_000
# For a partition whose position moves, it reads only the first record, for its age, at this interval.
AGE_EVERY_S = 5.0
POLL_S = 0.1
BATCH = 2_000
# Time limits of a measurement: for a caller that waits for the number, and for the heartbeat.
THOROUGH_S, BRIEF_S = 5.0, 1.0


NO_BACKLOG = PartitionBacklog(0, True, None)


class GaplessBacklog:
    """The backlog on the embedded log. All records of a batch have the same append time."""

    def __init__(self, conninfo: str) -> None:
        self._link = ReconnectingConnection(conninfo, "backlog", autocommit=True)

    def measure(
        self,
        ranges: Mapping[TopicPartition, PositionAndEnd],
        *,
        thorough: bool,  # noqa: ARG002  # part of the interface; here every measurement is exact
    ) -> dict[TopicPartition, PartitionBacklog]:
        behind = {tp: position for tp, (position, end) in ranges.items() if position < end}
        first_records = self._first_records(behind) if behind else {}
        backlogs = dict.fromkeys(ranges, NO_BACKLOG)
        for tp, (begin, oldest_ms) in first_records.items():
            position, end = ranges[tp]
            if oldest_ms is not None:
                backlogs[tp] = PartitionBacklog(end - max(position, begin), True, oldest_ms)
        return backlogs

    def close(self) -> None:
        self._link.drop()

    def _first_records(self, positions: Mapping[TopicPartition, int]) -> dict[TopicPartition, tuple[int, int | None]]:
        """Per partition, its begin offset (retention may have passed the position) and the append time in Unix ms of
        the first record at or after the position."""
        lookups = [(*tp, offset) for tp, offset in positions.items()]
        with self._link.use() as connection:
            rows = connection.execute(
                "SELECT w.name, w.p, part.begin_off, ("
                "   SELECT first_ms FROM broker.log l WHERE l.topic_id = t.id AND l.p = w.p"
                "   AND l.base_off >= coalesce((SELECT max(base_off) FROM broker.log h"
                "     WHERE h.topic_id = t.id AND h.p = w.p AND h.base_off <= w.off), 0)"
                "   AND l.base_off + l.n > w.off ORDER BY l.base_off LIMIT 1)"
                " FROM unnest(%s::text[], %s::int[], %s::bigint[]) AS w(name, p, off)"
                " JOIN broker.topics t ON t.name = w.name"
                " JOIN broker.partitions part ON part.topic_id = t.id AND part.p = w.p",
                [list(column) for column in zip(*lookups, strict=True)],
            ).fetchall()
        return {TopicPartition(name, p): (begin, oldest_ms) for name, p, begin, oldest_ms in rows}


@dataclass
class _ReadAhead:
    """The records of one partition from `begin` to before `read_to` as (offset, append time in ms), and the counts of
    records and offsets so far, for the estimate."""

    begin: int
    read_to: int
    entries: deque[tuple[int, int]] = field(default_factory=deque)
    record_count: int = 0
    offset_count: int = 0
    age_read_at_s: float = 0.0
    oldest_ms: int | None = None

    def advance(self, position: int) -> None:
        """Drop the records before the position."""
        if not self.begin <= position <= self.read_to:
            self.entries.clear()
            self.read_to = position
        self.begin = position
        while self.entries and self.entries[0][0] < position:
            self.entries.popleft()
        if self.entries:
            self.oldest_ms = self.entries[0][1]

    def add(self, entries: list[tuple[int, int]], read_to: int) -> None:
        self.entries.extend(entries)
        self.record_count += len(entries)
        self.offset_count += max(0, read_to - self.read_to)
        self.read_to = max(self.read_to, read_to)
        if self.entries:
            self.oldest_ms, self.age_read_at_s = self.entries[0][1], time.monotonic()

    def backlog(self, end: int) -> PartitionBacklog:
        if self.read_to >= end:
            inside = sum(offset < end for offset, _ in self.entries)
            return PartitionBacklog(inside, True, self.entries[0][1]) if inside else NO_BACKLOG
        density = self.record_count / self.offset_count if self.offset_count else 1.0
        estimate = round((end - self.read_to) * density)
        return PartitionBacklog(len(self.entries) + estimate, False, self.oldest_ms)


class ReadBacklog:
    """The backlog on Kafka. Thread-safe; it has a reader of its own."""

    def __init__(self, broker: Broker, max_records: int = MAX_RECORDS) -> None:
        self._broker = broker
        self._max_records = max_records
        self._lock = threading.Lock()
        self._read_ahead: dict[TopicPartition, _ReadAhead] = {}
        self._reader: tuple[frozenset[TopicPartition], Reader] | None = None

    def measure(
        self, ranges: Mapping[TopicPartition, PositionAndEnd], *, thorough: bool
    ) -> dict[TopicPartition, PartitionBacklog]:
        with self._lock:
            targets: dict[TopicPartition, int] = {}
            for tp, (position, end) in ranges.items():
                read_ahead = self._read_ahead.setdefault(tp, _ReadAhead(position, position))
                is_unmoved = read_ahead.begin == position
                read_ahead.advance(position)
                target = self._target(read_ahead, is_unmoved=is_unmoved, thorough=thorough)
                if position < end and read_ahead.read_to < end and target > len(read_ahead.entries):
                    targets[tp] = target
            if targets:
                self._read(targets, ranges, THOROUGH_S if thorough else BRIEF_S)
            return {
                tp: self._read_ahead[tp].backlog(end) if position < end else NO_BACKLOG
                for tp, (position, end) in ranges.items()
            }

    def close(self) -> None:
        with self._lock:
            self._drop_reader()

    def _target(self, read_ahead: _ReadAhead, *, is_unmoved: bool, thorough: bool) -> int:
        """How many records of a partition to know: all if `thorough`; some more if its position does not move;
        otherwise now and then the first, for its age."""
        if thorough:
            return self._max_records
        if is_unmoved:
            return min(self._max_records, len(read_ahead.entries) + MAX_PER_MEASUREMENT)
        return 1 if time.monotonic() > read_ahead.age_read_at_s + AGE_EVERY_S else 0

    def _read(
        self, targets: Mapping[TopicPartition, int], ranges: Mapping[TopicPartition, PositionAndEnd], limit_s: float
    ) -> None:
        deadline = time.monotonic() + limit_s
        reader = self._reader_of(frozenset(ranges))
        for tp, (_, end) in ranges.items():
            reader.seek(tp, self._read_ahead[tp].read_to if tp in targets else end)
        open_tps = set(targets)
        while open_tps and time.monotonic() < deadline:
            entries: dict[TopicPartition, list[tuple[int, int]]] = {}
            missing_count = sum(targets[tp] - len(self._read_ahead[tp].entries) for tp in open_tps)
            for record in reader.poll(POLL_S, min(BATCH, missing_count)):
                entries.setdefault(TopicPartition(record.topic, record.partition), []).append(
                    (record.offset, record.timestamp_ms)
                )
            for tp in sorted(open_tps):
                self._read_ahead[tp].add(entries.get(tp, []), reader.position(tp))
                if self._read_ahead[tp].read_to >= ranges[tp][1] or len(self._read_ahead[tp].entries) >= targets[tp]:
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
