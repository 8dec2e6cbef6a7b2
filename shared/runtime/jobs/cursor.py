"""Holds the cursor of a job: the next offset of each partition, and the counts up to there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import orjson

from shared.broker.contract import TopicPartition
from shared.ops.replays import OffsetSpan

Spans = Mapping[TopicPartition, OffsetSpan]


@dataclass
class JobCursor:
    """Written in the same unit as the records that it counts, so both stay exact if the worker is killed."""

    next_offsets: dict[TopicPartition, int]
    counts: dict[str, int] = field(default_factory=dict)

    def copy(self) -> JobCursor:
        return JobCursor(dict(self.next_offsets), dict(self.counts))

    def add(self, counts: Mapping[str, int]) -> None:
        for name, count in counts.items():
            self.counts[name] = self.counts.get(name, 0) + count

    def encode(self) -> bytes:
        return orjson.dumps(
            {
                "next": {f"{tp.topic}/{tp.partition}": offset for tp, offset in self.next_offsets.items()},
                "counts": self.counts,
            }
        )

    def remaining(self, spans: Spans) -> dict[TopicPartition, int]:
        """The unfinished partitions and their next offsets."""
        return {tp: self.next_offsets[tp] for tp, span in spans.items() if self.next_offsets[tp] < span.end}

    def progress(self, spans: Spans) -> float:
        """The progress from 0 to 1, measured in offsets."""
        whole = sum(span.end - span.begin for span in spans.values())
        return 1.0 if whole <= 0 else sum(self.next_offsets[tp] - span.begin for tp, span in spans.items()) / whole


def cursor_of(encoded: bytes | None, spans: Spans) -> JobCursor:
    """Decode a cursor; None is the cursor at the beginning of the spans."""
    cursor = JobCursor({tp: span.begin for tp, span in spans.items()})
    if encoded is not None:
        decoded = orjson.loads(encoded)
        for tp in spans:
            cursor.next_offsets[tp] = decoded["next"].get(f"{tp.topic}/{tp.partition}", cursor.next_offsets[tp])
        cursor.counts = dict(decoded["counts"])
    return cursor
