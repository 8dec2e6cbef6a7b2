"""How far every stage is, in records: a reading of the log, and what follows from it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from shared.topics import CLEAN, DEAD_LETTERS, LOADED, PREDICTIONS, RAW, STREAMS

# Who reads what, in the order in which records flow; the loader comes again for what others wrote after its turn.
# Read in this order, "has read all" of one hop stays true while the next is looked at.
HOPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("cleaner", (RAW,)),
    ("loader", (CLEAN,)),
    ("predictor", (LOADED,)),
    ("notifier", (PREDICTIONS, LOADED)),
    ("loader", (PREDICTIONS, *DEAD_LETTERS)),
)
TOPICS = (*STREAMS, *DEAD_LETTERS)
# The reader whose progress counts as a topic's "out".
MAIN_READER = {RAW: "cleaner", CLEAN: "loader", LOADED: "predictor", PREDICTIONS: "loader"} | dict.fromkeys(
    DEAD_LETTERS, "loader"
)


@dataclass(frozen=True)
class Positions:
    """Sums over partitions. `done` is what a service has read and committed of a topic, as an offset."""

    begin: Mapping[str, int] = field(default_factory=dict)
    end: Mapping[str, int] = field(default_factory=dict)
    done: Mapping[tuple[str, str], int] = field(default_factory=dict)

    def lag(self, service: str) -> int:
        return sum(self.end.get(topic, 0) - done for (who, topic), done in self.done.items() if who == service)

    def handled(self, service: str) -> int:
        """What a stage has got through: records read, and for the fetcher, which reads none, records written."""
        if service == "fetcher":
            return self.end.get(RAW, 0)
        return sum(done for (who, _), done in self.done.items() if who == service)


@dataclass(frozen=True)
class FetcherReport:
    """What the fetcher says of its windows (GET /v1/status, `detail`)."""

    due: int
    done: int
    failed: tuple[Mapping[str, Any], ...]
    exhausted: bool


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
        int(windows.get("due", 0)), int(windows.get("done", 0)), failed, bool(detail.get("exhausted", False))
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
    if reading.exports_open:
        return f"the loader's CSV files of {reading.exports_open} days"
    if reading.notifications_open:
        return f"the notifier: {reading.notifications_open} messages to send"
    return None
