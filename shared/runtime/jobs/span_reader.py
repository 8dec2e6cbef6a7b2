"""Reads given offset spans from a cursor on, and fails if retention has removed records that are still to be read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from shared.broker.contract import Broker, OffsetsGone, Reader, Record, TopicPartition
from shared.broker.counting.read_range import RecordsRemoved, require_available
from shared.runtime.jobs.cursor import Spans


class SpanSource(Protocol):
    """The source that a job reads its records from."""

    @property
    def read_to(self) -> dict[TopicPartition, int]:
        """Per partition, the offset before which all records have been returned."""
        ...

    @property
    def unfinished(self) -> frozenset[TopicPartition]:
        """The partitions that are not read to the end of their span."""
        ...

    def poll(self, timeout_s: float, max_records: int) -> list[Record]:
        """Records of the spans, in order within each partition; may be empty. Raises RecordsRemoved."""
        ...

    def close(self) -> None: ...


class SpanReader:
    """Reads the spans of all partitions at the same time. A partition that is read to its end is dropped."""

    def __init__(self, broker: Broker, spans: Spans, next_offsets: Mapping[TopicPartition, int]) -> None:
        """`next_offsets`: the unfinished partitions and the offsets to continue from."""
        self._broker = broker
        self._spans = spans
        self._read_to = dict(next_offsets)
        self._reader: Reader | None = None
        self._of: frozenset[TopicPartition] = frozenset()

    @property
    def read_to(self) -> dict[TopicPartition, int]:
        return dict(self._read_to)

    @property
    def unfinished(self) -> frozenset[TopicPartition]:
        return frozenset(tp for tp, offset in self._read_to.items() if offset < self._spans[tp].end)

    def poll(self, timeout_s: float, max_records: int) -> list[Record]:
        reader = self._reader_of_left()
        if reader is None:
            return []
        try:
            records = reader.poll(timeout_s, max_records)
        except OffsetsGone as gone:
            require_available(self._broker, {tp: self._read_to[tp] for tp in self._of})  # names all partitions
            raise RecordsRemoved(str(gone)) from gone
        self._require_all(records, reader)
        for tp in self._of:
            self._read_to[tp] = min(max(reader.position(tp), self._read_to[tp]), self._spans[tp].end)
        return [each for each in records if each.offset < self._spans[_tp(each)].end]

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _reader_of_left(self) -> Reader | None:
        """The reader of the unfinished partitions; replaced when a partition is finished."""
        if self._reader is None or self._of != self.unfinished:
            self.close()
            self._of = self.unfinished
            if self._of:
                self._reader = self._broker.reader(sorted(self._of), complete=True)
                for tp in self._of:
                    self._reader.seek(tp, self._read_to[tp])
        return self._reader

    def _require_all(self, records: list[Record], reader: Reader) -> None:
        """Raises RecordsRemoved if retention removed records. A gap of offsets may be normal (on Kafka), so at a gap,
        or if no records came, the begin offsets are checked."""
        first: dict[TopicPartition, int] = {}
        for record in records:
            first.setdefault(_tp(record), record.offset)
        odd = [tp for tp in self._of if not records or first.get(tp, reader.position(tp)) > self._read_to[tp]]
        if odd:
            require_available(self._broker, {tp: self._read_to[tp] for tp in odd})


def _tp(record: Record) -> TopicPartition:
    return TopicPartition(record.topic, record.partition)
