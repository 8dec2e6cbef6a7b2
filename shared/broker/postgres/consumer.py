"""Reads the embedded log, as a member of a group or without a group."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence

from shared.broker.contract import Damaged, Loss, OffsetsGone, PollResult, Record, TopicPartition
from shared.broker.postgres import log as postgres_log
from shared.broker.postgres.group import Group, positions_of
from shared.broker.postgres.log import PostgresTopics, StoredBatch
from shared.broker.postgres.unit import Leases
from shared.database.connection import TIMEOUTS, ReconnectingConnection, Timeouts
from shared.errors import BrokerError, Fenced, TransientError

# A NOTIFY may be missed while a connection is broken; the log is therefore also read at this interval.
POLL_INTERVAL_S = 0.25
# Batches fetched of one partition at a time, held in memory. A batch holds the records of one unit.
BATCHES_AHEAD = 3


class PostgresReader:
    """Reads partitions from given offsets. Commits no positions."""

    def __init__(
        self,
        conninfo: str,
        tps: Sequence[TopicPartition],
        name: str = "reader",
        timeouts: Timeouts = TIMEOUTS,
        *,
        complete: bool = False,
    ) -> None:
        """`complete`: as in Broker.reader."""
        self._link = ReconnectingConnection(conninfo, name, autocommit=True, answer_s=timeouts.answer_s)
        self._listener = ReconnectingConnection(
            conninfo, f"{name} wake-up", autocommit=True, answer_s=timeouts.answer_s
        )
        # Server process id and topics of the LISTEN statements; a new connection has to repeat them.
        self._listening: tuple[int, frozenset[str]] = (0, frozenset())
        self._topics = PostgresTopics()
        self._fetched_batches: dict[TopicPartition, deque[StoredBatch]] = {}
        self._records: dict[TopicPartition, deque[Record]] = {}
        self._fetch_at: dict[TopicPartition, int] = dict.fromkeys(tps, 0)
        self._read_at: dict[TopicPartition, int] = dict.fromkeys(tps, 0)
        # The segment of the batch that was fetched last.
        self._segments: dict[TopicPartition, int] = {}
        self.paused: frozenset[TopicPartition] = frozenset()
        self._complete = complete
        self._sought: set[TopicPartition] = set()

    @property
    def assigned(self) -> frozenset[TopicPartition]:
        return frozenset(self._fetch_at)

    def assign(self, positions: Mapping[TopicPartition, int]) -> None:
        """Read exactly these partitions. Fetched records are kept for partitions whose position is unchanged."""
        for tp in self._fetch_at.keys() - positions.keys():
            self._forget(tp)
        for tp, offset in positions.items():
            if self._read_at.get(tp) != offset:
                self.seek(tp, offset)

    def seek(self, tp: TopicPartition, offset: int) -> None:
        self._forget(tp)
        self._fetch_at[tp] = self._read_at[tp] = offset
        self._sought.add(tp)

    def position(self, tp: TopicPartition) -> int:
        return self._read_at[tp]

    def poll(self, timeout_s: float, max_records: int) -> list[Record]:
        deadline = time.monotonic() + timeout_s
        while True:
            self._discard_notifications()
            if records := self._take_records(max_records):
                return records
            remaining_s = deadline - time.monotonic()
            if remaining_s <= 0:
                return []
            self._wait(min(remaining_s, POLL_INTERVAL_S))

    def close(self) -> None:
        self._link.drop()
        self._listener.drop()

    def _forget(self, tp: TopicPartition) -> None:
        self._fetched_batches.pop(tp, None)
        self._records.pop(tp, None)
        self._fetch_at.pop(tp, None)
        self._read_at.pop(tp, None)
        self._segments.pop(tp, None)

    def _take_records(self, max_records: int) -> list[Record]:
        """Available records; fetches first if none is buffered.

        Takes an equal share of every partition, so that records appended to several partitions in one unit come
        together and no partition starves. Raises Damaged at a damaged batch, after the records before it have been
        returned.
        """
        active = [tp for tp in self._fetch_at if tp not in self.paused]
        if not any(self._fetched_batches.get(tp) or self._records.get(tp) for tp in active):
            self._fetch(active)
        records: list[Record] = []
        try:
            while len(records) < max_records and (ready := [tp for tp in active if self._queue(tp)]):
                share = max(1, (max_records - len(records)) // len(ready))
                for tp in ready[: max_records - len(records)]:
                    queue = self._queue(tp)
                    records.extend(queue.popleft() for _ in range(min(share, len(queue))))
                    self._read_at[tp] = records[-1].offset + 1
        except Damaged:
            if not records:
                raise
        return records

    def _queue(self, tp: TopicPartition) -> deque[Record]:
        """The decoded records of a partition; decodes the next batch if none is left."""
        queue = self._records.setdefault(tp, deque())
        ahead = self._fetched_batches.get(tp)
        while not queue and ahead:
            queue.extend(
                record for record in _decode(ahead[0], self._read_at[tp]) if record.offset >= self._read_at[tp]
            )
            ahead.popleft()  # after decoding: a damaged batch stays first in the queue and is never skipped
        return queue

    def _fetch(self, active: Sequence[TopicPartition]) -> None:
        positions = {tp: self._fetch_at[tp] for tp in active}
        if not positions:
            return
        try:
            with self._link.use() as connection:
                for batch in postgres_log.read(connection, self._topics, positions, BATCHES_AHEAD, self._segments):
                    self._require_complete(batch)
                    self._fetched_batches.setdefault(batch.tp, deque()).append(batch)
                    self._fetch_at[batch.tp] = batch.base_off + batch.n
                    self._segments[batch.tp] = batch.segment
        except TransientError:
            self._listener.drop()  # its connection may be dead too, and it would wait without an error
            raise

    def _require_complete(self, batch: StoredBatch) -> None:
        """The embedded log has no other gaps than those that retention makes."""
        expected = self._fetch_at[batch.tp]
        if self._complete and batch.tp in self._sought and batch.base_off > expected:
            raise OffsetsGone(batch.tp, expected, batch.base_off)

    def _discard_notifications(self) -> None:
        """Discard the pending notifications: the read that follows sees the records that they announce."""
        names = frozenset(tp.topic for tp in self._fetch_at)
        with self._listener.use() as connection:
            listening = (connection.info.backend_pid, names)
            if self._listening != listening:
                for name in names:
                    connection.execute(f"LISTEN {postgres_log.channel_of(self._topics.get(connection, name).id)}")
                self._listening = listening
            for _ in connection.notifies(timeout=0):
                pass

    def _wait(self, timeout_s: float) -> None:
        with self._listener.use() as connection:
            for _ in connection.notifies(timeout=timeout_s, stop_after=1):
                pass


class PostgresConsumer:
    """A member of a group: reads the partitions that it leases, from the group's committed positions."""

    def __init__(
        self, conninfo: str, group: str, topics: Sequence[str], slot: str, timeouts: Timeouts = TIMEOUTS
    ) -> None:
        self._group = Group(conninfo, group, topics, slot, timeouts)
        self._reader = PostgresReader(conninfo, (), f"{group} consumer", timeouts)
        self._paused: set[TopicPartition] = set()

    def assignment(self) -> frozenset[TopicPartition]:
        return frozenset(self._group.held)

    def losses(self) -> dict[TopicPartition, Loss]:
        """Always empty: positions and log are in one database, and retention waits for every group."""
        return {}

    def poll(self, timeout_s: float, max_records: int) -> PollResult:
        if self._group.update_assignment():
            self._assign({tp: self._reader.position(tp) for tp in self._reader.assigned & self._group.held.keys()})
        self._reader.paused = frozenset(self._paused)
        records = self._reader.poll(timeout_s, max_records)
        return PollResult(records, Leases(self._group.group, dict(self._group.held)))

    def seek(self, tp: TopicPartition, offset: int) -> None:
        self._require(tp)
        self._reader.seek(tp, offset)

    def pause(self, tps: Sequence[TopicPartition]) -> None:
        self._paused.update(tps)

    def resume(self, tps: Sequence[TopicPartition]) -> None:
        self._paused.difference_update(tps)

    def position(self, tp: TopicPartition) -> int:
        self._require(tp)
        return self._reader.position(tp)

    def reload(self) -> None:
        self._group.reload()
        self._assign({})
        for tp, offset in positions_of(self._group.held).items():
            self._reader.seek(tp, offset)

    def close(self) -> None:
        self._reader.close()
        self._group.close()

    def _assign(self, kept_positions: Mapping[TopicPartition, int]) -> None:
        """Read the leased partitions, from `kept_positions` where given, the others from the committed positions."""
        self._reader.assign({**positions_of(self._group.held), **kept_positions})
        self._paused &= self._group.held.keys()

    def _require(self, tp: TopicPartition) -> None:
        if tp not in self._reader.assigned:
            raise Fenced(f"{tp.topic}/{tp.partition} is not assigned to this member")


def _decode(batch: StoredBatch, position: int) -> list[Record]:
    try:
        return batch.records()
    except BrokerError as error:
        raise Damaged(batch.tp, position, batch.base_off + batch.n, str(error)) from error
