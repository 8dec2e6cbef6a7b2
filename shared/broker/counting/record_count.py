"""Counts the records between two offsets.

The embedded log has no gaps, so the difference of the offsets is the number. On Kafka transaction markers and the
records of aborted transactions take offsets too, so the records are read (read_committed, without a group).
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Mapping

from shared.broker.contract import Broker, OffsetRange, TopicPartition
from shared.broker.counting.read_range import read_range

# Ranges whose answer is remembered. A status asks for one range of each partition.
MAX_REMEMBERED = 10_000


class GaplessRecordCount:
    """Counts on the embedded log, by subtraction."""

    def count(self, spans: Collection[OffsetRange]) -> dict[OffsetRange, int]:
        return {span: max(0, span.end - span.begin) for span in spans}

    def empty(self, spans: Collection[OffsetRange]) -> frozenset[OffsetRange]:
        return frozenset(span for span in spans if span.end <= span.begin)


class ReadRecordCount:
    """Counts on Kafka, by reading. Whether a range is empty does not change, so it is remembered."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._has_records: dict[OffsetRange, bool] = {}

    def count(self, spans: Collection[OffsetRange]) -> dict[OffsetRange, int]:
        marks: dict[TopicPartition, set[int]] = defaultdict(set)
        for span in spans:
            if span.end > span.begin:
                marks[span.tp] |= {span.begin, span.end}
        below = {tp: dict.fromkeys(sorted(offsets), 0) for tp, offsets in marks.items()}
        for batch in read_range(self._broker, {tp: (min(each), max(each)) for tp, each in marks.items()}):
            offsets_by_tp: dict[TopicPartition, list[int]] = defaultdict(list)
            for record in batch:
                offsets_by_tp[TopicPartition(record.topic, record.partition)].append(record.offset)
            for tp, offsets in offsets_by_tp.items():
                for mark in below[tp]:
                    below[tp][mark] += bisect_left(offsets, mark)
        return {
            span: below[span.tp][span.end] - below[span.tp][span.begin] if span.end > span.begin else 0
            for span in spans
        }

    def empty(self, spans: Collection[OffsetRange]) -> frozenset[OffsetRange]:
        unknown = [span for span in spans if span not in self._has_records]
        while unknown:
            one_each = {span.tp: span for span in unknown}
            holding = self._partitions_with_records({tp: (span.begin, span.end) for tp, span in one_each.items()})
            self._has_records |= {span: tp in holding for tp, span in one_each.items()}
            unknown = [span for span in unknown if span not in self._has_records]
        empty = frozenset(span for span in spans if not self._has_records[span])
        while len(self._has_records) > MAX_REMEMBERED:
            del self._has_records[next(iter(self._has_records))]  # the one that was asked for first
        return empty

    def _partitions_with_records(self, ranges: Mapping[TopicPartition, tuple[int, int]]) -> set[TopicPartition]:
        """The partitions whose range contains a record; reading stops at the first one."""
        tps: set[TopicPartition] = set()
        for batch in read_range(self._broker, ranges, finished=tps):
            tps |= {TopicPartition(record.topic, record.partition) for record in batch}
        return tps
