"""Counts the records that went through the pipeline between two readings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from headrace.progress.positions import MAIN_READER, TOPICS, PipelinePositions
from shared.broker.contract import OffsetRange, RecordCount
from shared.topics import RAW, STREAMS

KeyedSpans = Sequence[tuple[tuple[str, ...], OffsetRange]]
"""Spans of offsets, each under the key that its records are counted for."""


@dataclass(frozen=True)
class RecordCounts:
    """`held` and `appended` by (topic,), `read` by (service, topic)."""

    held: Mapping[tuple[str, ...], int]
    appended: Mapping[tuple[str, ...], int]
    read: Mapping[tuple[str, ...], int]
    # The main topics, and the others if anything was ever written to them.
    used: tuple[str, ...]

    def of_topic(self, topic: str) -> dict[str, int]:
        """`records`: what it holds; `in`: what was appended; `out`: what its main reader read."""
        return {
            "records": self.held.get((topic,), 0),
            "in": self.appended.get((topic,), 0),
            "out": self.read.get((MAIN_READER[topic], topic), 0),
        }

    def handled(self, service: str) -> int:
        """Records read; for the fetcher, which reads no topic, records written."""
        if service == "fetcher":
            return self.appended.get((RAW,), 0)
        return sum(count for (reader, _), count in self.read.items() if reader == service)


def count_records(record_count: RecordCount, before: PipelinePositions, after: PipelinePositions) -> RecordCounts:
    held = [((tp.topic,), OffsetRange(tp, after.begin.get(tp, 0), end)) for tp, end in after.end.items()]
    appended = [((tp.topic,), OffsetRange(tp, before.end.get(tp, 0), end)) for tp, end in after.end.items()]
    read = [
        ((service, tp.topic), OffsetRange(tp, before.committed.get((service, tp), 0), position))
        for (service, tp), position in after.committed.items()
    ]
    counts = record_count.count({span for _, span in (*held, *appended, *read)})
    used = tuple(topic for topic in TOPICS if topic in STREAMS or after.end_of(topic))
    return RecordCounts(_sums(held, counts), _sums(appended, counts), _sums(read, counts), used)


def _sums(spans: KeyedSpans, counts: Mapping[OffsetRange, int]) -> dict[tuple[str, ...], int]:
    sums = dict.fromkeys((key for key, _ in spans), 0)
    for key, span in spans:
        sums[key] += counts[span]
    return sums
