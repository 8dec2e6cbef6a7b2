"""What waits between a position and the end of its partition: how many records, and since when the oldest.

On the embedded log arithmetic and one statement tell. On Kafka offsets have gaps, so only reading does: what was read
is remembered and only what came since is read, up to a bound; beyond it, what was seen so far tells how many of the
offsets are records.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from shared.broker.contract import Broker, Reader, Stretch, TopicPartition, Waiting
from shared.database.connection import Link

# What is read and remembered of a partition; a record is 16 bytes here, but all of it has to come over the line.
MOST_RECORDS = 10_000
# A look that happens each second reads so much more of a partition at most, and only where nobody is working it off.
MOST_A_LOOK = 2_000
# Where somebody is, the age of the oldest record is read anew this often.
AGE_EVERY_S = 5.0
POLL_S = 0.1
BATCH = 2_000
# Whoever asks waits; the heartbeat has others to tell about.
THOROUGH_S, BRIEF_S = 5.0, 1.0


NOTHING = Waiting(0, True, None)


class GaplessBacklog:
    """For the embedded log. All records of a batch were appended at the same time."""

    def __init__(self, conninfo: str) -> None:
        self._link = Link(conninfo, "backlog", autocommit=True)

    def look(
        self,
        stretches: Mapping[TopicPartition, Stretch],
        *,
        thorough: bool,  # noqa: ARG002  # the contract's: here it is all the same
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
        """Where a partition begins, for retention may have passed a position; and when the first record at or after
        the position was appended."""
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
    """Of one partition: the records from `begin` to before `read_to` (offset, time), and how dense they were so far."""

    begin: int
    read_to: int
    known: deque[tuple[int, int]] = field(default_factory=deque)
    records: int = 0
    offsets: int = 0
    aged_at_s: float = 0.0
    oldest_ms: int | None = None

    def move(self, position: int) -> None:
        """What lies before it waits no more."""
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
    """For Kafka. For any thread, one at a time; its reader is its own."""

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
        """How many records of a partition to know: all, where somebody asks; some more, where nobody works it off; else
        now and then the first, for its age."""
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
