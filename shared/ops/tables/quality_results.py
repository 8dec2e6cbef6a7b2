"""Stores the results of `headrace quality --record` in ops.quality_results. Runs within the caller's transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import NamedTuple

from psycopg.types.json import Jsonb

from shared.database.connection import DbConnection

# A result a day for three years; older ones are deleted.
KEPT_RESULTS = 1000
MAX_FINDINGS = 20


class StoredQualityResult(NamedTuple):
    """`broken`: how many values break each threshold. `findings`: the worst of them in words."""

    at: datetime
    first_day: date
    last_day: date
    broken: dict[str, int]
    findings: list[str]


def store(
    connection: DbConnection, days: tuple[date, date], broken: Mapping[str, int], findings: Sequence[str]
) -> None:
    """`days`: first and last day of the report. Stores the first findings only."""
    connection.execute(
        "INSERT INTO ops.quality_results (first_day, last_day, broken, findings) VALUES (%s, %s, %s, %s)",
        (*days, Jsonb(dict(broken)), Jsonb(list(findings[:MAX_FINDINGS]))),
    )
    connection.execute(
        "DELETE FROM ops.quality_results WHERE id <= (SELECT max(id) FROM ops.quality_results) - %s", (KEPT_RESULTS,)
    )


def newest(connection: DbConnection) -> StoredQualityResult | None:
    row = connection.execute(
        "SELECT at, first_day, last_day, broken, findings FROM ops.quality_results ORDER BY id DESC LIMIT 1"
    ).fetchone()
    return None if row is None else StoredQualityResult(*row)
