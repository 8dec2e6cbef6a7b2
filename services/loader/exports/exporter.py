"""Publishes the files of outdated days: one CSV or Parquet file, or both, for each table and day.

A day is written when its last event has ended or the day is over, and again whenever its rows change. A file holds the
rows of all sources; the keys and the column `source` of sessions tell them apart. publication.py has the order of the
steps.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import structlog

from services.loader.exports.manifest import DataFile, Format, Manifest
from services.loader.exports.postgres_days import (
    OutdatedDay,
    SourceDay,
    column_types,
    lock_day,
    mark_exported,
    outdated_days,
    outdated_sources,
)
from services.loader.exports.publication import pending_days, publish, remove_superseded
from services.loader.exports.staging import StagedCsv, StagingArea, described
from services.loader.exports.target import ExportError, Target
from shared.backoff import Backoff
from shared.clock import Clock
from shared.database.connection import DbConnection, ReconnectingConnection
from shared.errors import TransientError

POLL_INTERVAL_S = 0.5
# A backfill changes its days many times in a row. A day is therefore written when it has been unchanged for this long,
# or at once when no day has changed since the last poll. On a busy machine, units of a backfill take 2 s, and the
# records of one day are spread over several: with 3 s, half of the days were written twice.
QUIET_PERIOD_S = 8.0
# Readers that have read a manifest find its files at least this long after a newer one has replaced it.
GRACE_S = 300.0
# Planning a query over the views takes longer than reading one day, so several days are read in one query.
MAX_DAYS_PER_SNAPSHOT = 16
# Days whose files are stored at the same time. A day waits about 25 times for the disk, or for object storage.
PARALLEL_DAYS = 8
# A backfill supersedes many days at once, and the removal of one takes many requests to object storage.
MAX_REMOVALS = 16


class ExportTimes(NamedTuple):
    """How long the exporter waits; `backoff`: before a day that could not be written is tried again."""

    quiet_period_s: float = QUIET_PERIOD_S
    grace_s: float = GRACE_S
    backoff: Backoff = Backoff(first_s=POLL_INTERVAL_S, max_s=60)


DEFAULT_TIMES = ExportTimes()


class _Failure(NamedTuple):
    cause: str
    tries: int
    retry_s: float  # monotonic


class _StagedDay(NamedTuple):
    """A day with its sources, and with its rows in local files."""

    day: OutdatedDay
    sources: list[SourceDay]
    files: list[StagedCsv]


class Exporter:
    """Writes outdated days, in its own thread with its own connection. Threads of its own store the files.

    A day whose files cannot be written does not delay other days; it is tried again after growing delays.
    """

    def __init__(
        self,
        conninfo: str,
        target: Target,
        staging: Path,
        clock: Clock,
        formats: Sequence[Format] = ("csv",),
        times: ExportTimes = DEFAULT_TIMES,
    ) -> None:
        """`staging`: a local folder for files in work; for a folder as target, on the same file system."""
        self._link = ReconnectingConnection(conninfo, "exports", autocommit=True)
        self._target = target
        self._staging = StagingArea(staging)
        self._clock = clock
        self._formats = formats
        self._times = times
        self._last_changes: dict[date, tuple[int, float]] = {}  # `touched`, and since when (monotonic seconds)
        self._written_count = 0
        self._failures: dict[date, _Failure] = {}
        # Days with superseded files, and when these may be removed (monotonic seconds). None: not read yet.
        self._removals: dict[date, float] | None = None
        self._log = structlog.get_logger()

    def status(self) -> dict[str, Any]:
        causes = sorted({failure.cause for failure in list(self._failures.values())})
        return {
            "exports_target": str(self._target),
            "exports_written": self._written_count,
            "exports_refused": len(self._failures),
            "exports_error": causes[0] if causes else None,
        }

    def run(self, stop: threading.Event) -> None:
        while not stop.wait(POLL_INTERVAL_S):
            try:
                self.export_due_days(stop)
                self.remove_superseded_files(stop)
            except TransientError as error:
                self._log.warning("exports_database_lost", error=str(error))
        self._link.drop()

    def export_due_days(self, stop: threading.Event) -> None:
        """Write every outdated day that is quiet and has ended, or is in the past."""
        today = self._clock.now().date()
        with self._link.use() as connection:
            days = outdated_days(connection)
            due = [day for day in self._quiet_days(days) if (day.ended or day.date < today) and self._may_try(day.date)]
            for start in range(0, len(due), MAX_DAYS_PER_SNAPSHOT):
                if stop.is_set():
                    return
                self._write_days(connection, due[start : start + MAX_DAYS_PER_SNAPSHOT], stop)

    def remove_superseded_files(self, stop: threading.Event) -> None:
        """Remove the files of earlier publications whose grace period is over, also those of a killed process."""
        try:
            if self._removals is None:
                self._removals = dict.fromkeys(pending_days(self._target), time.monotonic() + self._times.grace_s)
            due = [day for day, due_s in self._removals.items() if due_s <= time.monotonic()]
            for day in due[:MAX_REMOVALS]:
                if stop.is_set():
                    return
                self._removals[day] = time.monotonic() + self._times.grace_s  # if it fails
                with self._link.use() as connection, lock_day(connection, day) as is_locked:
                    if is_locked:
                        remove_superseded(self._target, day)
                        del self._removals[day]
        except ExportError as error:
            self._log.warning("exports_removal_failed", target=str(self._target), error=str(error))

    def _quiet_days(self, days: list[OutdatedDay]) -> list[OutdatedDay]:
        """Days unchanged since the last poll, and for the quiet period if any other day has changed."""
        now = time.monotonic()
        before, self._last_changes = self._last_changes, {}
        for day in days:
            touched, since = before.get(day.date, (None, now))
            self._last_changes[day.date] = (day.touched, since if touched == day.touched else now)
        still = [day for day in days if before.get(day.date) == self._last_changes[day.date]]
        if len(still) == len(days):
            return still
        return [day for day in still if now - self._last_changes[day.date][1] >= self._times.quiet_period_s]

    def _may_try(self, day: date) -> bool:
        return day not in self._failures or self._failures[day].retry_s <= time.monotonic()

    def _write_days(self, connection: DbConnection, days: list[OutdatedDay], stop: threading.Event) -> None:
        """Write the days that no other exporter has locked, all from one snapshot."""
        with ExitStack() as day_locks:
            mine = [day for day in days if day_locks.enter_context(lock_day(connection, day.date))]
            try:
                staged, types = self._stage(connection, mine)
            except OSError as error:
                for day in mine:
                    self._note_failure(day.date, error.strerror or type(error).__name__)
                return
            with ThreadPoolExecutor(PARALLEL_DAYS, "exports") as threads:
                for each, cause in threads.map(partial(self._publish, connection, stop, types), staged):
                    if cause:
                        self._note_failure(each.day.date, cause)
                    elif cause is not None:
                        self._failures.pop(each.day.date, None)
                        mark_exported(connection, each.day.date, each.sources)
                        self._written_count += 1
            for day in mine:
                self._staging.clear(day.date)

    def _stage(
        self, connection: DbConnection, days: list[OutdatedDay]
    ) -> tuple[list[_StagedDay], dict[str, dict[str, str]]]:
        """Sources and rows of the days from one snapshot, and the types of the columns. Locks no row."""
        with connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            sources = {day: sources for day in days if (sources := outdated_sources(connection, day))}
            if not sources:
                return [], {}
            files = self._staging.fill(connection, [day.date for day in sources])
            return [_StagedDay(day, each, files[day.date]) for day, each in sources.items()], column_types(connection)

    def _publish(
        self, connection: DbConnection, stop: threading.Event, types: dict[str, dict[str, str]], staged: _StagedDay
    ) -> tuple[_StagedDay, str | None]:
        """Publish one day; runs in a thread. Returns why it failed: an empty text if it is published, None if it was
        not tried, because the service ends."""
        if stop.is_set():
            return staged, None
        day = staged.day.date

        def manifest_of(generation: int, files: Sequence[DataFile]) -> Manifest:
            names = [source.name for source in staged.sources]
            return Manifest(day, names, staged.day.ended, generation, self._clock.now(), files)

        if self._removals is not None:
            self._removals[day] = time.monotonic() + self._times.grace_s
        try:
            files = list(self._files_of(day, staged.files, types))
            # The lock lives as long as the connection.
            publish(self._target, day, files, manifest_of, lambda: connection.execute("SELECT 1"))
        except (OSError, ExportError) as error:
            cause = error.strerror if isinstance(error, OSError) else str(error)
            return staged, cause or type(error).__name__
        if self._removals is not None:
            self._removals[day] = time.monotonic() + self._times.grace_s
        return staged, ""

    def _files_of(
        self, day: date, staged: list[StagedCsv], types: dict[str, dict[str, str]]
    ) -> Iterator[tuple[DataFile, Path]]:
        """The files of the day in all formats, Parquet first, because it is made from the CSV file."""
        if "parquet" in self._formats:
            from services.loader.exports.parquet import write_parquet  # noqa: PLC0415 - pyarrow is in an extra

            for each in staged:
                parquet_file = each.file.with_suffix(".parquet")
                write_parquet(each.file, types[each.table], parquet_file)
                yield described(each, parquet_file, day, "parquet"), parquet_file
        if "csv" in self._formats:
            for each in staged:
                yield described(each, each.file, day, "csv"), each.file

    def _note_failure(self, day: date, cause: str) -> None:
        failure = self._failures.get(day)
        if failure is None or failure.cause != cause:
            self._log.error("export_write_failed", target=str(self._target), day=day, error=cause)
        tries = 1 if failure is None else failure.tries + 1
        self._failures[day] = _Failure(cause, tries, time.monotonic() + self._times.backoff.delay_s(tries))
