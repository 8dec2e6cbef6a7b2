"""How far each stage has read: offsets of one moment, and whether anything is left to do."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from headrace.progress.text import number_of
from shared.broker.contract import TopicPartition
from shared.topics import CLEAN, DEAD_LETTERS, LOADED, PREDICTIONS, RAW, READS, SERVICES, STREAMS, retry_topic

# The topics each service reads, in the order in which records flow; the loader appears twice because it also stores
# what the later stages write. Offsets read in this order stay valid: a hop that was empty before the next one is read
# cannot receive records from a later stage.
HOPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("cleaner", (RAW, retry_topic("cleaner"))),
    ("loader", (CLEAN, retry_topic("loader"))),
    ("predictor", (LOADED, retry_topic("predictor"))),
    ("notifier", (PREDICTIONS, LOADED, retry_topic("notifier"))),
    ("loader", (PREDICTIONS, *DEAD_LETTERS)),
)
RETRIES = {retry_topic(service): service for service in SERVICES if READS[service]}
TOPICS = (*STREAMS, *DEAD_LETTERS, *RETRIES)
# The reader whose progress counts as a topic's "out".
MAIN_READER = (
    {RAW: "cleaner", CLEAN: "loader", LOADED: "predictor", PREDICTIONS: "loader"}
    | dict.fromkeys(DEAD_LETTERS, "loader")
    | RETRIES
)

Reader = tuple[str, TopicPartition]
"""A service and a partition that it reads."""


@dataclass(frozen=True)
class PipelinePositions:
    """Offsets per partition.

    `committed` may lie before `end` although nothing is left to read: on Kafka the end of a transaction takes an offset
    too (see `caught_up`).
    """

    begin: Mapping[TopicPartition, int] = field(default_factory=dict)
    end: Mapping[TopicPartition, int] = field(default_factory=dict)
    committed: Mapping[Reader, int] = field(default_factory=dict)
    # Records that services have written into the database for Kafka and that are not in Kafka yet.
    outbox: int = 0

    def end_of(self, topic: str) -> int:
        return sum(offset for tp, offset in self.end.items() if tp.topic == topic)

    def held(self, topic: str) -> int:
        """Offsets between the topic's first and last record."""
        return sum(offset - self.begin.get(tp, 0) for tp, offset in self.end.items() if tp.topic == topic)

    def behind(self) -> dict[Reader, tuple[int, int]]:
        """Readers that have not reached the end: committed position and end."""
        return {
            reader: (position, self.end[reader[1]])
            for reader, position in self.committed.items()
            if position < self.end.get(reader[1], position)
        }

    def caught_up(self, readers: Collection[Reader]) -> PipelinePositions:
        """A copy in which these readers are at the end of their partitions."""
        return replace(self, committed={**self.committed, **{reader: self.end[reader[1]] for reader in readers}})

    def lag(self, service: str) -> int:
        """Offsets left to read. On Kafka this includes the ends of transactions while records flow."""
        return sum(end - position for (reader, _), (position, end) in self.behind().items() if reader == service)

    def handled(self, service: str) -> int:
        """Offsets that a stage has read; for the fetcher, which reads no topic, offsets that it has written."""
        if service == "fetcher":
            return self.end_of(RAW)
        return sum(position for (reader, _), position in self.committed.items() if reader == service)


@dataclass(frozen=True)
class FetcherReport:
    """The fetcher's windows (GET /v1/status, `detail`)."""

    due: int
    done: int
    failed: tuple[Mapping[str, Any], ...]
    exhausted: bool
    # Of a recorded span: how many of its days have documents (services/fetcher/planning/coverage.py).
    days: Mapping[str, Any] | None = None
    # What its requests wait for (services/fetcher/gate/waits.py). The times vary by rounding, so they are no progress.
    waits: tuple[Mapping[str, str], ...] = field(default=(), compare=False)


@dataclass(frozen=True)
class Reading:
    """One look at everything that decides whether a run is finished. `fetcher` is None while it does not answer."""

    fetcher: FetcherReport | None
    positions: PipelinePositions
    exports_open: int
    notifications_open: int


def fetcher_report(detail: Mapping[str, Any]) -> FetcherReport:
    """Parse the `detail` of the fetcher's status. Missing counts are 0."""
    windows = detail.get("windows") or {}
    failed = tuple(each if isinstance(each, Mapping) else {"window": each} for each in detail.get("failed") or ())
    return FetcherReport(
        int(windows.get("due", 0)),
        int(windows.get("done", 0)),
        failed,
        bool(detail.get("exhausted", False)),
        detail.get("days"),
        tuple(detail.get("waits") or ()),
    )


def waiting_for(reading: Reading, follows: bool = False) -> str | None:
    """What is not finished, the earliest stage first; None when everything is.

    One reading can miss records that are in flight between two stages: trust the answer only if two readings in a row
    are equal. With `follows`, the fetcher follows its source without an end and is not waited for.
    """
    if reading.fetcher is None:
        return "the fetcher to report its windows"
    if not reading.fetcher.exhausted and not follows:
        due = reading.fetcher.due
        if not due:
            return "the fetcher to finish its last window"
        return f"the fetcher to fetch {number_of(due, 'window')}{_closed_gate_text(reading.fetcher.waits)}"
    for service in dict.fromkeys(service for service, _ in HOPS):
        if (lag := reading.positions.lag(service)) > 0:
            return f"the {service} to read {number_of(lag, 'record')}"
    return _waiting_for_output(reading)


def _waiting_for_output(reading: Reading) -> str | None:
    if reading.positions.outbox:
        return f"the relay to copy {number_of(reading.positions.outbox, 'record')} to Kafka"
    if reading.exports_open:
        return f"the loader to write the daily files of {number_of(reading.exports_open, 'day')}"
    if reading.notifications_open:
        return f"the notifier to send {number_of(reading.notifications_open, 'message')}"
    return None


def _closed_gate_text(waits: Sequence[Mapping[str, str]]) -> str:
    """Why and until when no request is made, as the rest of a sentence; empty if that is only the budget."""
    closed = [each for each in waits if each["reason"] in {"retry-after", "breaker"}]
    if not closed:
        return ""
    last = max(closed, key=lambda each: each["until"])
    reason = "which asked to wait" if last["reason"] == "retry-after" else "where too many requests failed"
    return f", which makes no request before {last['until']} to {last['host']}, {reason} (`headrace gates`)"
