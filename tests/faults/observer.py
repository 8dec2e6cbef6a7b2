"""Reads the progress of the pipeline during faults; what cannot be read at the moment is None, not an error."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from functools import partial

import psycopg

from headrace.database.access import Access
from headrace.progress import observer
from headrace.progress.positions import HOPS
from services.fetcher.planning.cursor import status_of
from services.notifier.storage.postgres_sending_hold import read_hold
from shared.broker.connect import connect
from shared.broker.contract import Broker, TopicPartition
from shared.errors import HeadraceError
from shared.settings.sections import Settings
from shared.topics import FETCHER_CURSORS, RAW
from tests.faults.days import FEEDS
from tests.faults.recovery import READS, Sample

OPEN_NOTIFICATIONS = (
    "SELECT count(*) FROM notifier.ledger WHERE state IN ('pending', 'sending') AND due_at < 'infinity'"
)
SOURCE = "boatrace"


class Observer:
    """Connects directly, not through the proxies."""

    def __init__(self, access: Access, settings: Settings, token: str, windows: frozenset[str] = frozenset()) -> None:
        self.windows = windows
        self.broker: Broker = connect(settings, access.owner().conninfo("headrace faults"))
        self._open_observer = partial(observer.Observer, access, settings, token)
        self._observer: observer.Observer | None = None
        self._partitions: dict[str, list[TopicPartition]] = {}

    def expect(self, days: Iterable[date], *, results: bool = True) -> None:
        """Add the windows of these days to those that the fetcher must finish."""
        feeds = FEEDS if results else FEEDS[:2]
        self.windows |= {f"{SOURCE}/{feed}/{day.isoformat()}" for feed in feeds for day in days}

    def sample(self) -> Sample | None:
        try:
            committed = {service: self.broker.committed(service, [topic]) for service, topic in READS.items()}
            return Sample(committed, self._ends(dict.fromkeys([RAW, *READS.values()])), self._is_drained())
        except (HeadraceError, psycopg.Error):
            return None

    def remaining(self) -> int | None:
        """How many windows are not fetched; if all are, how many records wait and notifications are not sent."""
        try:
            if (missing := len(self.windows - self._finished_windows())) > 0:
                return missing
            self._observer = self._observer or self._open_observer()
            positions = self._observer.positions()
            row = self._observer.connection.execute(OPEN_NOTIFICATIONS).fetchone()
        except (HeadraceError, psycopg.Error):
            self._close_observer()
            return None
        records = sum(positions.lag(service) for service in dict.fromkeys(service for service, _ in HOPS))
        return records + positions.outbox + (int(row[0]) if row else 0)

    def is_sending_held(self) -> bool:
        """Whether messages wait for an operator, because the database went back to an earlier state."""
        try:
            self._observer = self._observer or self._open_observer()
            return read_hold(self._observer.connection) is not None
        except (HeadraceError, psycopg.Error):
            self._close_observer()
            return False

    def close(self) -> None:
        self._close_observer()
        self.broker.close()

    def _close_observer(self) -> None:
        if self._observer is not None:
            self._observer.close()
            self._observer = None

    def _ends(self, topics: Iterable[str]) -> dict[TopicPartition, int]:
        for topic in topics:
            if topic not in self._partitions:
                self._partitions[topic] = self.broker.partitions(topic)
        return self.broker.end_offsets([tp for topic in topics for tp in self._partitions[topic]])

    def _is_drained(self) -> bool:
        return self.windows <= self._finished_windows()

    def _finished_windows(self) -> frozenset[str]:
        cursors = self.broker.cursors(FETCHER_CURSORS)
        return frozenset(name for name, value in cursors.items() if status_of(value).state == "done")
