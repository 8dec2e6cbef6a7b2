"""What a job is, for the loop that drives it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from shared.broker.contract import Broker, Record, TopicPartition, Unit
from shared.runtime.jobs.cursor import Cursor, Spans
from shared.runtime.jobs.span_reader import SpanReader, SpanReading

Reading = tuple[str, str]
"""A service and a stream that it reads."""

Transform = Callable[[Sequence[Record], Unit], Mapping[str, int]]
"""Puts what comes of these records into the unit; returns what to add to the counts. May be called again on the same
records, after a unit that failed."""

Committed = Callable[[Cursor, Sequence[Record]], None]
"""Called after each committed unit with its selected records, and without records with the cursor that a worker starts
from, because its predecessor may have died between a commit and this call. Raises TransientError to be called again."""


@dataclass(frozen=True)
class Job:
    """What is to be done: the records of `spans` that are `wanted`, by `transform`, in units of at most so many.

    `beside`: the stream in which all live work begins; where it is quiet, more is done at once. None: no such thing.
    `reading` gives the reader of the spans, from where they are not done yet: of a topic, unless it says otherwise.
    `slow`: the transform may take long, so it works in a thread of its own while the loop ticks on.
    """

    id: str
    spans: Spans
    wanted: Callable[[Record], bool]
    transform: Transform
    in_database: bool = False
    unit_records: int = 200
    rate: float | None = None
    committed: Committed = lambda _cursor, _records: None
    downstream: frozenset[Reading] = frozenset()
    beside: str | None = None
    reading: Callable[[Broker, Spans, Mapping[TopicPartition, int]], SpanReading] = SpanReader
    slow: bool = False
