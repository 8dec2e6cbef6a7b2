"""Builds the SQL that reads stored versions. Values become literals, as in headrace/frames/query.py."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterator, Sequence

from headrace.frames.as_of.known_facts import VERSION_COLUMNS
from headrace.frames.days import Days
from headrace.frames.query import Filters, literal

CHUNK_DAYS = 10
"""Days that are in memory at once as decoded facts: about 1,700 events."""

DATES = "SELECT min(date) AS first, max(date) AS last FROM analytics.sessions"
_COLUMNS = ", ".join(f"v.{'record_id::text' if name == 'record_id' else name} AS {name}" for name in VERSION_COLUMNS)


def versions_statement(filters: Filters, kinds: Collection[str], *conditions: str) -> str:
    """The versions of the selected events. `conditions`: further SQL conditions on the rows, called `v`."""
    parts = [f"v.kind IN {_list(sorted(kinds))}", *conditions]
    if filters.days.first is not None:
        parts.append(f"v.date >= {literal(filters.days.first)}")
    if filters.days.last is not None:
        parts.append(f"v.date <= {literal(filters.days.last)}")
    for column, values in (("venue", filters.venues), ("source", filters.sources), ("event_key", filters.events)):
        if values:
            parts.append(f"v.{column} IN {_list(values)}")
    return f"SELECT {_COLUMNS} FROM analytics.versions v WHERE {' AND '.join(parts)}"


def cards_statement(dates: Collection[dt.date], sources: Collection[str]) -> str:
    """The versions of the cards of these days."""
    return versions_statement(Filters(sources=tuple(sorted(sources))), ("listed",), f"v.date IN {_list(sorted(dates))}")


def with_entities_condition(keys: Collection[str]) -> str:
    """Selects the versions of events on whose card one of the entities is or was."""
    entities = _list(sorted(keys))
    return (
        f"v.event_key IN (SELECT event_key FROM analytics.entries WHERE entity_key IN {entities}"
        " UNION SELECT event_key FROM analytics.corrections WHERE kind = 'listed'"
        f" AND field LIKE 'entries.%.entity.entity_key' AND old IN {entities})"
    )


def venues_statement(instant: dt.datetime) -> str:
    """The venues that were on a card at the instant."""
    return (
        "SELECT DISTINCT source, venue::text AS code FROM analytics.versions"
        f" WHERE kind = 'listed' AND known_at <= timestamptz {literal(instant.isoformat())}"
    )


def chunks(days: Days, length: int = CHUNK_DAYS) -> Iterator[Days]:
    """Consecutive parts of bounded days."""
    assert days.first is not None  # noqa: S101
    assert days.last is not None  # noqa: S101
    for first in range(days.first.toordinal(), days.last.toordinal() + 1, length):
        last = min(first + length - 1, days.last.toordinal())
        yield Days(dt.date.fromordinal(first), dt.date.fromordinal(last))


def _list(values: Sequence[str | int | dt.date]) -> str:
    return f"({', '.join(map(literal, values))})"
