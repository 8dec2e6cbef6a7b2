"""How far a job is: where it goes on in each partition, and what it has counted up to there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import orjson

from shared.broker.contract import TopicPartition
from shared.ops.replays import Span

Spans = Mapping[TopicPartition, Span]


@dataclass
class Cursor:
    """Set in the unit of what it counts, so both are exact whatever kills the worker."""

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
        """The partitions that are not read to their end, and where to go on in them."""
        return {tp: self.next[tp] for tp, span in spans.items() if self.next[tp] < span.end}

    def progress(self, spans: Spans) -> float:
        """By offsets: 0 at the beginning, 1 at the end."""
        whole = sum(span.end - span.begin for span in spans.values())
        return 1.0 if whole <= 0 else sum(self.next[tp] - span.begin for tp, span in spans.items()) / whole


def cursor_of(encoded: bytes | None, spans: Spans) -> Cursor:
    """Where the job goes on; at its beginning where it has no cursor yet."""
    cursor = Cursor({tp: span.begin for tp, span in spans.items()})
    if encoded is not None:
        said = orjson.loads(encoded)
        for tp in spans:
            cursor.next[tp] = said["next"].get(f"{tp.topic}/{tp.partition}", cursor.next[tp])
        cursor.counts = dict(said["counts"])
    return cursor
