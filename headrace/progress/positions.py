"""How far every stage is: a reading of the log, and what follows from it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from shared.broker.contract import TopicPartition
from shared.topics import CLEAN, DEAD_LETTERS, LOADED, PREDICTIONS, RAW, READS, SERVICES, STREAMS, retry_topic

# Who reads what, in the order in which records flow; the loader comes again for what others wrote after its turn.
# Read in this order, "has read all" of one hop stays true while the next is looked at.
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

Done = tuple[str, TopicPartition]
"""A service, and a partition that it reads."""


@dataclass(frozen=True)
class Positions:
    """Offsets per partition. `done` is what a service has read and committed; it may lie before `end` where nothing is
    left to read, because on Kafka the end of a transaction takes an offset too (see `passed`)."""

    begin: Mapping[TopicPartition, int] = field(default_factory=dict)
    end: Mapping[TopicPartition, int] = field(default_factory=dict)
    done: Mapping[Done, int] = field(default_factory=dict)
    # What services have written into the database for Kafka and nobody has copied there yet.
    outbox: int = 0

    def end_of(self, topic: str) -> int:
        return sum(offset for tp, offset in self.end.items() if tp.topic == topic)

    def behind(self) -> dict[Done, tuple[int, int]]:
        """Where a service is before the end: its position and the end."""
        return {who: (done, self.end[who[1]]) for who, done in self.done.items() if done < self.end.get(who[1], done)}

    def passed(self, nothing_left: Collection[Done]) -> Positions:
        """With these services at the end of these partitions."""
        return replace(self, done={**self.done, **{who: self.end[who[1]] for who in nothing_left}})

    def lag(self, service: str) -> int:
        """Records to go; on Kafka, while records flow, the ends of transactions are counted with them."""
        return sum(end - done for (who, _), (done, end) in self.behind().items() if who == service)

    def handled(self, service: str) -> int:
        """What a stage has got through, in offsets: read, and for the fetcher, which reads none, written."""
        if service == "fetcher":
            return self.end_of(RAW)
        return sum(done for (who, _), done in self.done.items() if who == service)


@dataclass(frozen=True)
class FetcherReport:
    """What the fetcher says of its windows (GET /v1/status, `detail`)."""

    due: int
    done: int
    failed: tuple[Mapping[str, Any], ...]
    exhausted: bool
    # Of a recorded span: how many of its days have documents (services/fetcher/planning/coverage.py).
    days: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Reading:
    """One look at everything that decides whether a run is at its end."""

    fetcher: FetcherReport | None
    positions: Positions
    exports_open: int
    notifications_open: int


def report_of(detail: Mapping[str, Any]) -> FetcherReport:
    """Of the `detail` of the fetcher's status; what it does not say yet counts as nothing."""
    windows = detail.get("windows") or {}
    failed = tuple(each if isinstance(each, Mapping) else {"window": each} for each in detail.get("failed") or ())
    return FetcherReport(
        int(windows.get("due", 0)),
        int(windows.get("done", 0)),
        failed,
        bool(detail.get("exhausted", False)),
        detail.get("days"),
    )


def waiting_for(reading: Reading, follows: bool = False) -> str | None:
    """What is not through yet, the earliest stage first; None when everything is. Needs two equal readings to trust.

    A fetcher that follows its source has no end and is not waited for.
    """
    if reading.fetcher is None:
        return "the fetcher to say how far it is"
    if not reading.fetcher.exhausted and not follows:
        return f"the fetcher: {reading.fetcher.due} windows are due"
    for service in dict.fromkeys(service for service, _ in HOPS):
        if (lag := reading.positions.lag(service)) > 0:
            return f"the {service}: {lag} records to go"
    left = (
        (reading.positions.outbox, "the outbox: {} records to copy to Kafka"),
        (reading.exports_open, "the loader's CSV files of {} days"),
        (reading.notifications_open, "the notifier: {} messages to send"),
    )
    return next((text.format(count) for count, text in left if count), None)
