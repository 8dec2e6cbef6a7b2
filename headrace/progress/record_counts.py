"""What went through between two readings, in records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from headrace.progress.positions import MAIN_READER, TOPICS, Positions
from shared.broker.contract import OffsetRange, RecordCount
from shared.topics import RAW, STREAMS

Measured = Sequence[tuple[tuple[str, ...], OffsetRange]]


@dataclass(frozen=True)
class Tally:
    """Counts by (topic,), and of what was read by (service, topic)."""

    held: Mapping[tuple[str, ...], int]
    came_in: Mapping[tuple[str, ...], int]
    read: Mapping[tuple[str, ...], int]
    # Topics that nothing was ever written to are not worth a line, except the main ones.
    used: tuple[str, ...]

    def of_topic(self, topic: str) -> dict[str, int]:
        """`records`: what it holds; `in`, `out`: what came in, and what its main reader read."""
        return {
            "records": self.held.get((topic,), 0),
            "in": self.came_in.get((topic,), 0),
            "out": self.read.get((MAIN_READER[topic], topic), 0),
        }

    def handled(self, service: str) -> int:
        """For the fetcher, which reads none, records written."""
        if service == "fetcher":
            return self.came_in.get((RAW,), 0)
        return sum(count for (who, _), count in self.read.items() if who == service)


def tally(record_count: RecordCount, before: Positions, after: Positions) -> Tally:
    held = [((tp.topic,), OffsetRange(tp, after.begin.get(tp, 0), end)) for tp, end in after.end.items()]
    came_in = [((tp.topic,), OffsetRange(tp, before.end.get(tp, 0), end)) for tp, end in after.end.items()]
    read = [
        ((who, tp.topic), OffsetRange(tp, before.done.get((who, tp), 0), end)) for (who, tp), end in after.done.items()
    ]
    counts = record_count.count({span for _, span in (*held, *came_in, *read)})
    used = tuple(topic for topic in TOPICS if topic in STREAMS or after.end_of(topic))
    return Tally(_summed(held, counts), _summed(came_in, counts), _summed(read, counts), used)


def _summed(measured: Measured, counts: Mapping[OffsetRange, int]) -> dict[tuple[str, ...], int]:
    sums = dict.fromkeys((key for key, _ in measured), 0)
    for key, span in measured:
        sums[key] += counts[span]
    return sums
