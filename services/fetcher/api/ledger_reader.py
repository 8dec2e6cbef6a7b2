"""Reads the ledger of windows for the endpoints, and whether the loader has handled all records."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import closing
from datetime import date, datetime

from services.fetcher.planning.cursor import status_of
from services.fetcher.planning.ledger import Ledger
from services.fetcher.planning.windows import FetchPlan, Window, last_final_day, window_of, windows_between
from services.fetcher.planning_rules import revisit_rules_of
from services.fetcher.sources.declaration import Source
from shared.broker.contract import Broker
from shared.clock import Clock
from shared.runtime.api.context import AdminContext
from shared.topics import CLEAN, FETCHER_CURSORS, RAW

# The topics between fetcher and tables, with the service that reads each, in the order in which records pass them.
STAGES = ((RAW, "cleaner"), (CLEAN, "loader"))


class LedgerReader:
    """Reads the ledger from the committed cursors. `fetched_keys`: the windows whose document waits for its unit."""

    def __init__(
        self, source: Source, plan: FetchPlan, clock: Clock, fetched_keys: Callable[[], Collection[str]]
    ) -> None:
        self._source = source
        self._plan = plan
        self._clock = clock
        self._fetched_keys = fetched_keys
        # When the document of each window was fetched, as of the last time the pipeline had no waiting records.
        self._loaded: dict[Window, datetime | None] = {}

    def read(self, context: AdminContext) -> Ledger:
        with context.broker() as broker:
            # The order matters: the records of these cursors were appended before the ends are read.
            statuses = {
                window: status_of(value)
                for key, value in broker.cursors(FETCHER_CURSORS).items()
                if (window := window_of(key, self._source.name)) is not None
            }
            if is_drained(broker):
                self._loaded = {window: status.fetched_at for window, status in statuses.items()}
        loaded = {window for window, status in statuses.items() if self._loaded.get(window) == status.fetched_at}
        fetched = {window for key in self._fetched_keys() if (window := window_of(key, self._source.name))}
        rules, now = revisit_rules_of(self._source), self._clock.now()
        return Ledger(statuses, self.planned(), rules, now, fetched, loaded)

    @property
    def first_day(self) -> date | None:
        """The first day of the plan; None if it has none."""
        return self._plan.first

    def planned(self, first: date | None = None, last: date | None = None) -> list[Window]:
        """The windows of the plan whose day is over, or of these days."""
        final = last_final_day(self._clock.now(), self._source.zone, self._source.live.close_after_s)
        first, last = first or self._plan.first, last or self._plan.last or final
        if first is None:
            return []
        last = last if self._plan.recorded else min(last, final)
        return list(windows_between(first, last, self._source.feeds_of(None)))


def is_drained(broker: Broker) -> bool:
    """Whether the loader has handled all records of raw-events that exist when this is called.

    The stages are read in order: when a topic's end is read, all records of the stage before have passed it.
    """
    for topic, reader in STAGES:
        ends = broker.end_offsets(broker.partitions(topic))
        committed = broker.committed(reader, [topic])
        ranges = {tp: (committed[tp], end) for tp, end in ends.items() if committed[tp] < end}
        if not ranges:
            continue
        with closing(broker.backlog()) as backlog:
            if any(each.records for each in backlog.measure(ranges, thorough=False).values()):
                return False
    return True
