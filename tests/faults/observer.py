"""Reads how far the pipeline is while it is being hit: what cannot be read right now is None, never an error."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from functools import partial

import psycopg

from headrace.database.access import Access
from headrace.progress import observer
from headrace.progress.positions import HOPS
from services.fetcher.planning.cursor import status_of
from shared.broker.connect import connect
from shared.broker.contract import Broker, TopicPartition
from shared.errors import HeadraceError
from shared.settings.sections import Settings
from shared.topics import FETCHER_CURSORS, RAW
from tests.faults.days import FEEDS
from tests.faults.recovery import READS, Sample

OPEN_NOTES = "SELECT count(*) FROM notifier.ledger WHERE state IN ('pending', 'sending') AND due_at < 'infinity'"
SOURCE = "boatrace"


class Observer:
    """Looks on past all proxies. `windows` are those that the source will have given when it has nothing left."""

    def __init__(self, access: Access, settings: Settings, token: str) -> None:
        self.broker: Broker = connect(settings, access.owner().conninfo("headrace faults"))
        self._look = partial(observer.Observer, access, settings, token)
        self._looking: observer.Observer | None = None
        self._partitions: dict[str, list[TopicPartition]] = {}
        self._windows: frozenset[str] = frozenset()

    def expect(self, days: Iterable[date], *, results: bool = True) -> None:
        feeds = FEEDS if results else FEEDS[:2]
        self._windows |= {f"{SOURCE}/{feed}/{day.isoformat()}" for feed in feeds for day in days}

    def sample(self) -> Sample | None:
        try:
            done = {service: self.broker.committed(service, [topic]) for service, topic in READS.items()}
            return Sample(done, self._ends(dict.fromkeys([RAW, *READS.values()])), self._drained())
        except (HeadraceError, psycopg.Error):
            return None

    def left(self) -> int | None:
        """Records to go, over all hops, and notes that are not told; windows of the source count as records."""
        try:
            if (missing := len(self._windows - self._done())) > 0:
                return missing
            self._looking = self._looking or self._look()
            positions = self._looking.positions()
            row = self._looking.connection.execute(OPEN_NOTES).fetchone()
        except (HeadraceError, psycopg.Error):
            self._look_away()
            return None
        records = sum(positions.lag(service) for service in dict.fromkeys(service for service, _ in HOPS))
        return records + positions.outbox + (int(row[0]) if row else 0)

    def close(self) -> None:
        self._look_away()
        self.broker.close()

    def _look_away(self) -> None:
        if self._looking is not None:
            self._looking.close()
            self._looking = None

    def _ends(self, topics: Iterable[str]) -> dict[TopicPartition, int]:
        for topic in topics:
            if topic not in self._partitions:
                self._partitions[topic] = self.broker.partitions(topic)
        return self.broker.end_offsets([tp for topic in topics for tp in self._partitions[topic]])

    def _drained(self) -> bool:
        return self._windows <= self._done()

    def _done(self) -> frozenset[str]:
        cursors = self.broker.cursors(FETCHER_CURSORS)
        return frozenset(name for name, value in cursors.items() if status_of(value).state == "done")
