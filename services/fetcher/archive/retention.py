"""Removes documents from the archive by age, if `fetcher.archive_retention_days` is set.

A window is removed as a whole, because a replay rebuilds it from its first document: when its newest document was
fetched longer ago than the retention. The lines of its documents move to `removed.jsonl`, so that replays, audits and
people can tell what was removed. While a replay from the archive is open, nothing is removed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import structlog

from services.fetcher.archive.files import DiskFiles, locked
from services.fetcher.archive.index import INDEX, IndexText, index_lines, rewrite_index
from services.fetcher.archive.store import body_path
from services.fetcher.planning.windows import Window
from services.fetcher.sources.declaration import Source
from services.fetcher.sources.documents import IndexLine
from shared.clock import Clock
from shared.database.connection import ReconnectingConnection
from shared.errors import ConfigError, TransientError
from shared.ops.tables.replays import REPLAY

REMOVED = "removed.jsonl"
INTERVAL_S = 3600.0

log = structlog.get_logger(__name__)


class Removal(NamedTuple):
    """What was removed; `bytes` is the size of the compressed bodies."""

    windows: int = 0
    documents: int = 0
    bodies: int = 0
    bytes: int = 0
    last_day: date | None = None


class ArchiveRetention:
    """A background task of the fetcher (exit_codes.Background). Every replica may run it."""

    def __init__(self, folder: Path, days: float, clock: Clock, conninfo: str, service: str) -> None:
        self._folder = folder
        self._age = timedelta(days=days)
        self._clock = clock
        self._service = service
        self._link = ReconnectingConnection(conninfo, "archive retention", autocommit=True)

    def __call__(self, stop: threading.Event) -> None:
        while not stop.is_set():
            try:
                self.remove()
            except (TransientError, ConfigError, OSError) as error:
                log.warning("archive_retention_failed", cause=str(error))
            finally:
                self.close()  # no connection stays open for an hour
            stop.wait(INTERVAL_S)

    def close(self) -> None:
        self._link.drop()

    def remove(self) -> Removal:
        """Remove what is too old, unless a replay from the archive is open. No replay starts in the meantime."""
        with self._link.use() as connection, connection.transaction():
            connection.execute(
                "SELECT pg_advisory_xact_lock(hashtext('headrace replays'), hashtext(%s))", (self._service,)
            )
            row = connection.execute(
                "SELECT id FROM ops.operations WHERE service = %s AND kind = %s AND finished_at IS NULL LIMIT 1",
                (self._service, REPLAY),
            ).fetchone()
            if row is not None:
                log.info("archive_retention_postponed", operation=row[0])
                return Removal()
            removal = remove_old(self._folder, self._clock.now() - self._age)
        if removal.windows:
            log.info("archive_documents_removed", **{**removal._asdict(), "last_day": str(removal.last_day)})
        return removal


def remove_old(folder: Path, before: datetime) -> Removal:
    """Remove the windows whose newest document was fetched before `before`. Raises ConfigError or OSError.

    The index is rewritten first, so that a crash leaves bodies without lines at most; `headrace archive verify` finds
    them.
    """
    index = folder / INDEX
    if not _old_windows(index_lines(index), before):
        return Removal()
    hashes: dict[str, date] = {}
    windows: set[tuple[str | None, str, date]] = set()

    def select() -> Callable[[IndexText], bool]:
        old = _old_windows(index_lines(index), before)

        def keep(text: IndexText) -> bool:
            if text.line is None or _key(text.line) not in old:
                return True
            hashes[text.line.hash] = text.line.date
            windows.add(_key(text.line))
            return False

        return keep

    documents = rewrite_index(index, select, folder / REMOVED)
    bodies, size = _remove_bodies(folder, hashes)
    last_day = max((day for _, _, day in windows), default=None)
    return Removal(len(windows), documents, bodies, size, last_day)


def removed_windows(folder: Path, source: Source) -> set[Window]:
    """The windows of a source that retention removed and that were not fetched again."""
    present = {(line.feed, line.date) for line in index_lines(folder / INDEX) if line.source in {None, source.name}}
    removed = {(line.feed, line.date) for line in index_lines(folder / REMOVED) if line.source in {None, source.name}}
    return {Window(*each) for each in removed - present}


def _key(line: IndexLine) -> tuple[str | None, str, date]:
    return line.source, line.feed, line.date


def _old_windows(lines: Iterable[IndexLine], before: datetime) -> set[tuple[str | None, str, date]]:
    newest: dict[tuple[str | None, str, date], datetime] = {}
    for line in lines:
        newest[_key(line)] = max(line.fetched_at, newest.get(_key(line), line.fetched_at))
    return {key for key, fetched_at in newest.items() if fetched_at < before}


def _remove_bodies(folder: Path, hashes: Iterable[str]) -> tuple[int, int]:
    """Remove the bodies that no line names. Returns their number and size.

    The lock keeps lines out that name one of them again; `DocumentArchive.put` then writes its body again.
    """
    count, size = 0, 0
    with locked(folder / INDEX):
        unused = set(hashes) - {line.hash for line in index_lines(folder / INDEX)}
        for hash_ in sorted(unused):
            path = body_path(folder, hash_)
            if path.exists():
                count, size = count + 1, size + path.stat().st_size
                path.unlink()
    for shard in sorted({hash_[:2] for hash_ in unused}):
        if (folder / shard).is_dir():
            DiskFiles().sync(folder / shard)
    return count, size
