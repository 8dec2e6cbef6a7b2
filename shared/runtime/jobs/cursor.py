"""Holds the cursor of a job: the next offset of each partition, and the counts up to there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import orjson

from shared.broker.contract import TopicPartition
from shared.ops.replays import Span

Spans = Mapping[TopicPartition, Span]


@dataclass
class Cursor:
    """Written in the same unit as the records that it counts, so both stay exact if the worker is killed."""

    next: dict[TopicPartition, int]
    counts: dict[str, int] = field(default_factory=dict)

    def copy(self) -> Cursor:
        return Cursor(dict(self.next), dict(self.counts))

    def add(self, counts: Mapping[str, int]) -> None:
        for name, count in counts.items():
            self.counts[name] = self.counts.get(name, 0) + count

    def encoded(self) -> bytes:
        return orjson.dumps(
            {"next": {f"{tp.topic}/{tp.partition}": offset for tp, offset in self.next.items()}, "counts": self.counts}
        )

    def left(self, spans: Spans) -> dict[TopicPartition, int]:
        """The unfinished partitions and their next offsets."""
        return {tp: self.next[tp] for tp, span in spans.items() if self.next[tp] < span.end}

    def progress(self, spans: Spans) -> float:
        """The progress from 0 to 1, measured in offsets."""
        whole = sum(span.end - span.begin for span in spans.values())
        return 1.0 if whole <= 0 else sum(self.next[tp] - span.begin for tp, span in spans.items()) / whole


def cursor_of(encoded: bytes | None, spans: Spans) -> Cursor:
    """Decode a cursor; None is the cursor at the beginning of the spans."""
    cursor = Cursor({tp: span.begin for tp, span in spans.items()})
    if encoded is not None:
        said = orjson.loads(encoded)
        for tp in spans:
            cursor.next[tp] = said["next"].get(f"{tp.topic}/{tp.partition}", cursor.next[tp])
        cursor.counts = dict(said["counts"])
    return cursor
