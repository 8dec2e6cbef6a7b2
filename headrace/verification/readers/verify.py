"""Verifies a database, in one snapshot, beside services that write.

Rows of a unit become visible at once. Profiles, entities and sessions are written before their unit (load.py), so a
difference in them counts only if it is the same after all units that were open have ended.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, Protocol

from headrace.verification.inconsistency import Inconsistency
from headrace.verification.readers.announcements import missing_announcements
from headrace.verification.readers.events import event_parts
from headrace.verification.readers.exported_days import file_differences
from headrace.verification.readers.references import CHECK_COUNT, contradictions
from headrace.verification.readers.tables import entity_differences, rate_differences, session_differences
from headrace.verification.totals import Totals
from services.loader.exports.target import Target
from shared.database.connection import DbConnection

POLL_S = 0.05
_SHARED_TABLES = ("facts.profiles", "facts.entities", "facts.sessions")
_OPEN_UNITS = (
    "SELECT virtualtransaction FROM pg_locks WHERE locktype = 'advisory' AND granted"
    " AND classid::bigint = hashtext('headrace loader')::bigint & 4294967295"
)


class VerificationProgress(Protocol):
    """Shows how far a check has come."""

    def begin(self, name: str, total: int) -> Callable[[int], object]:
        """Returns the function that is called with the number of items that are done."""


class DatabaseVerification(NamedTuple):
    """The result: what is wrong, and how many events were compared."""

    inconsistencies: list[Inconsistency]
    event_count: int


def verify(
    snapshot: DbConnection, current: DbConnection, target: Target | None, progress: VerificationProgress
) -> DatabaseVerification:
    """`target`: where the exports are; None: they are not compared. Both connections are in autocommit mode."""
    with repeatable_read(snapshot):
        result, event_count = _compare(snapshot, progress)
        result += missing_announcements(snapshot, current)
        if target is not None:
            days = snapshot.execute("SELECT count(DISTINCT date) FROM facts.export_days").fetchall()[0][0]
            result += file_differences(snapshot, current, target, progress.begin("daily files", days))
    if any(each.table in _SHARED_TABLES for each in result):
        _wait_for_open_units(current)
        with repeatable_read(snapshot):
            again = set(_compare(snapshot, progress)[0])
        result = [each for each in result if each.table not in _SHARED_TABLES or each in again]
    return DatabaseVerification(sorted(set(result)), event_count)


@contextmanager
def repeatable_read(connection: DbConnection) -> Iterator[None]:
    """A snapshot that takes no lock that a writer waits for."""
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        connection.execute("SET LOCAL timezone = 'UTC'")
        yield


def _compare(connection: DbConnection, progress: VerificationProgress) -> tuple[list[Inconsistency], int]:
    event_count = connection.execute("SELECT count(*) FROM facts.events").fetchall()[0][0]
    totals, result, is_complete = Totals(), list[Inconsistency](), True
    for part in event_parts(connection, progress.begin("events", event_count)):
        result += part.inconsistencies
        is_complete &= part.is_complete
        for event in part.events:
            totals.add(event)
    if is_complete:  # otherwise the sums lack events whose versions are damaged, which are reported
        result += rate_differences(connection, totals.rates)
        result += entity_differences(connection, totals)
        result += session_differences(connection)
    result += contradictions(connection, progress.begin("references and counts", CHECK_COUNT))
    return result, event_count


def _wait_for_open_units(connection: DbConnection) -> None:
    still_open = {row[0] for row in connection.execute(_OPEN_UNITS)}
    while still_open:
        time.sleep(POLL_S)
        still_open &= {row[0] for row in connection.execute(_OPEN_UNITS)}
