"""Reads given spans of offsets from a cursor on, and never passes over what retention has cut in the meantime."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from shared.broker.contract import Broker, Reader, Record, TopicPartition
from shared.broker.counting.read_range import require_there
from shared.runtime.jobs.cursor import Spans


class SpanReading(Protocol):
    """What a job reads from."""

    @property
    def read_to(self) -> dict[TopicPartition, int]:
        """Per partition, before which offset all that it holds was given."""
        ...

    @property
    def left(self) -> frozenset[TopicPartition]:
        """The partitions that are not read to their end."""
        ...

    def poll(self, timeout_s: float, max_records: int) -> list[Record]:
        """Records of the spans, each partition's in order; perhaps none. Raises Cut."""
        ...

    def close(self) -> None: ...


class SpanReader:
    """All partitions side by side, as they came; one that is read to its end is left out from then on."""

    def __init__(self, broker: Broker, spans: Spans, left: Mapping[TopicPartition, int]) -> None:
        """`left`: the partitions that are not done, and where to go on in them."""
        self._broker = broker
        self._spans = spans
        self._read_to = dict(left)
        self._reader: Reader | None = None
        self._of: frozenset[TopicPartition] = frozenset()

    @property
    def read_to(self) -> dict[TopicPartition, int]:
        return dict(self._read_to)

    @property
    def left(self) -> frozenset[TopicPartition]:
        return frozenset(tp for tp, offset in self._read_to.items() if offset < self._spans[tp].end)

    def poll(self, timeout_s: float, max_records: int) -> list[Record]:
        reader = self._reader_of_left()
        if reader is None:
            return []
        records = reader.poll(timeout_s, max_records)
        self._require_all(records, reader)
        for tp in self._of:
            self._read_to[tp] = min(max(reader.position(tp), self._read_to[tp]), self._spans[tp].end)
        return [each for each in records if each.offset < self._spans[_tp(each)].end]

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _reader_of_left(self) -> Reader | None:
        """Made anew when a partition is done, for nothing of it is wanted any more."""
        if self._reader is None or self._of != self.left:
            self.close()
            self._of = self.left
            if self._of:
                self._reader = self._broker.reader(sorted(self._of))
                for tp in self._of:
                    self._reader.seek(tp, self._read_to[tp])
        return self._reader

    def _require_all(self, records: list[Record], reader: Reader) -> None:
        """Offsets may have gaps (on Kafka); where there is one, or nothing comes, the log is asked where it begins."""
        first: dict[TopicPartition, int] = {}
        for record in records:
            first.setdefault(_tp(record), record.offset)
        odd = [tp for tp in self._of if not records or first.get(tp, reader.position(tp)) > self._read_to[tp]]
        if odd:
            require_there(self._broker, {tp: self._read_to[tp] for tp in odd})


def _tp(record: Record) -> TopicPartition:
    return TopicPartition(record.topic, record.partition)
