"""Defines the job that a job loop runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from shared.broker.contract import Broker, Record, TopicPartition, Unit
from shared.runtime.jobs.cursor import JobCursor, Spans
from shared.runtime.jobs.span_reader import SpanReader, SpanSource

Subscription = tuple[str, str]
"""(service, topic): a topic that a service reads."""

Transform = Callable[[Sequence[Record], Unit], Mapping[str, int]]
"""Appends the outputs of these records to the unit; returns the numbers to add to the counts. May be called again with
the same records after a failed unit."""

OnCommit = Callable[[JobCursor, Sequence[Record]], None]
"""Called after each committed unit with its selected records. Also called without records when a worker starts, with
its first cursor, because its predecessor may have crashed between a commit and this call. If it raises TransientError,
it is called again."""


@dataclass(frozen=True)
class Job:
    """Applies `transform` to the records of `spans` that `is_selected` accepts, in units of at most `unit_records`.

    `rate`: limit in records per second. `downstream`: the subscriptions whose backlog limits the speed.
    `live_topic`: the topic in which all live work begins; the job is faster while it is idle. None: there is none.
    `open_reader`: opens the reader of the unfinished spans; by default the spans are of a topic.
    `slow`: the transform may take long, so it runs in a worker thread while the loop continues to tick.
    """

    id: str
    spans: Spans
    is_selected: Callable[[Record], bool]
    transform: Transform
    in_database: bool = False
    unit_records: int = 200
    rate: float | None = None
    on_commit: OnCommit = lambda _cursor, _records: None
    downstream: frozenset[Subscription] = frozenset()
    live_topic: str | None = None
    open_reader: Callable[[Broker, Spans, Mapping[TopicPartition, int]], SpanSource] = SpanReader
    slow: bool = False
