"""Counts the records between two offsets.

The embedded log has no gaps, so the difference of the offsets is the number. On Kafka transaction markers and the
records of aborted transactions take offsets too, so the records are read (read_committed, without a group).
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Mapping

from shared.broker.contract import Broker, Span, TopicPartition
from shared.broker.counting.read_range import sweep


class GaplessRecordCount:
    """Counts on the embedded log, by subtraction."""

    def count(self, spans: Collection[Span]) -> dict[Span, int]:
        return {span: max(0, span.end - span.begin) for span in spans}

    def empty(self, spans: Collection[Span]) -> frozenset[Span]:
        return frozenset(span for span in spans if span.end <= span.begin)


class ReadRecordCount:
    """Counts on Kafka, by reading. Whether a range is empty does not change, so it is remembered."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._held: dict[Span, bool] = {}

    def count(self, spans: Collection[Span]) -> dict[Span, int]:
        marks: dict[TopicPartition, set[int]] = defaultdict(set)
        for span in spans:
            if span.end > span.begin:
                marks[span.tp] |= {span.begin, span.end}
        below = {tp: dict.fromkeys(sorted(offsets), 0) for tp, offsets in marks.items()}
        for batch in sweep(self._broker, {tp: (min(each), max(each)) for tp, each in marks.items()}):
            found: dict[TopicPartition, list[int]] = defaultdict(list)
            for record in batch:
                found[TopicPartition(record.topic, record.partition)].append(record.offset)
            for tp, offsets in found.items():
                for mark in below[tp]:
                    below[tp][mark] += bisect_left(offsets, mark)
        return {
            span: below[span.tp][span.end] - below[span.tp][span.begin] if span.end > span.begin else 0
            for span in spans
        }

    def empty(self, spans: Collection[Span]) -> frozenset[Span]:
        unknown = [span for span in spans if span not in self._held]
        while unknown:
            one_each = {span.tp: span for span in unknown}
            holding = self._holding({tp: (span.begin, span.end) for tp, span in one_each.items()})
            self._held |= {span: tp in holding for tp, span in one_each.items()}
            unknown = [span for span in unknown if span not in self._held]
        return frozenset(span for span in spans if not self._held[span])

    def _holding(self, ranges: Mapping[TopicPartition, tuple[int, int]]) -> set[TopicPartition]:
        """The partitions whose range contains a record; reading stops at the first one."""
        found: set[TopicPartition] = set()
        for batch in sweep(self._broker, ranges, enough=found):
            found |= {TopicPartition(record.topic, record.partition) for record in batch}
        return found
