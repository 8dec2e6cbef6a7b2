"""The events table: made once, filled by what each kind of fact knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.loader.resolve import Ids
from shared.broker.contract import DbConnection

# Column of facts.events, its type, and whether a null leaves what is there.
_COLUMNS = {
    "session_id": "bigint", "number": "integer", "scheduled_at": "timestamptz", "title": "text",
    "distance_m": "integer", "card_key": "text", "status": "text", "technique": "integer", "conditions": "jsonb",
    "observed_conditions": "jsonb", "missing_markets": "text", "version": "integer", "listed_at": "timestamptz",
    "observed_at": "timestamptz", "settled_at": "timestamptz",
}  # fmt: skip
_STAGE = ", ".join(["event_key text", *(f"{name} {kind}" for name, kind in _COLUMNS.items())])
_NAMES = ", ".join(["event_key", *_COLUMNS])
_VALUES = ", ".join(["event_key", *_COLUMNS]).replace("missing_markets", "string_to_array(missing_markets, ',')")
_SETS = ", ".join(f"{name} = coalesce(s.{name}, e.{name})" for name in _COLUMNS if name != "missing_markets")


def prepare(connection: DbConnection) -> None:
    connection.execute(f"CREATE TEMP TABLE IF NOT EXISTS stage_events ({_STAGE}) ON COMMIT DELETE ROWS")


def write(connection: DbConnection, events: Mapping[str, Mapping[str, Any]], sessions: Ids) -> None:
    """New events are inserted whole; of known ones, what these facts know replaces what was there."""
    with (
        connection.cursor() as cursor,
        cursor.copy(f"COPY stage_events ({_NAMES}) FROM STDIN") as copy,
    ):
        for key, columns in sorted(events.items()):
            copy.write_row((key, *(_value(name, columns, sessions) for name in _COLUMNS)))
    connection.execute(
        f"UPDATE facts.events e SET {_SETS}, missing_markets = CASE WHEN s.settled_at IS NULL THEN e.missing_markets"
        " ELSE string_to_array(s.missing_markets, ',') END FROM stage_events s WHERE s.event_key = e.event_key"
    )
    connection.execute(
        f"INSERT INTO facts.events ({_NAMES}) SELECT {_VALUES} FROM stage_events s WHERE s.session_id IS NOT NULL"
        " AND NOT EXISTS (SELECT FROM facts.events e WHERE e.event_key = s.event_key) ORDER BY event_key"
    )


def _value(name: str, columns: Mapping[str, Any], sessions: Ids) -> Any:
    if name == "session_id":
        return sessions[columns["session"]] if "session" in columns else None
    value = columns.get(name)
    return ",".join(value) if isinstance(value, list) else value
