"""Stores what waits for each service once a minute in ops.lag_history.

All replicas of a service measure the same lag, and the first one in a minute stores it. The five services
read 15 topics (with those of retries and dead letters): 21,600 rows of some 130 bytes a day.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from shared.database.connection import DbConnection

KEPT = timedelta(days=7)
_INSERT = """
INSERT INTO ops.lag_history (at, service, topic, records, seconds, position)
SELECT %s, %s, * FROM unnest(%s::text[], %s::bigint[], %s::double precision[], %s::bigint[])
ON CONFLICT DO NOTHING"""


class TopicLag(NamedTuple):
    """`seconds`: age of the oldest unread record; 0 if there is none, None if it is unknown. `position`: sum over the
    partitions of the offsets that are handled."""

    topic: str
    records: int
    seconds: float | None
    position: int


def minute_of(at: datetime) -> datetime:
    return at.replace(second=0, microsecond=0)


def store(connection: DbConnection, service: str, at: datetime, lags: Sequence[TopicLag]) -> None:
    """Store the lag of the minute of `at` unless another replica did, and delete what is older than KEPT."""
    minute = minute_of(at)
    columns = [list(column) for column in zip(*lags, strict=True)]
    connection.execute(_INSERT, (minute, service, *columns))
    connection.execute("DELETE FROM ops.lag_history WHERE at < %s", (minute - KEPT,))
