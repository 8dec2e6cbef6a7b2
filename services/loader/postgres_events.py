"""Writes facts.events: inserts new events and updates the columns that the kinds of facts own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Any

from services.loader.postgres_staging import prepare_stage
from services.loader.resolve import IdsByKey
from services.loader.schema import EVENTS
from shared.database.connection import DbConnection

# Column of facts.events, and its type in the staging table. An array is staged as text, separated by commas.
_COLUMNS = {column.name: column.sql_type.removesuffix("[]") for column in EVENTS.value_columns}
_STAGE = ", ".join(["event_key text", *(f"{name} {kind}" for name, kind in _COLUMNS.items())])
_NAMES = ", ".join(["event_key", *_COLUMNS])
_STAGED_EXPRESSIONS = {"missing_markets": "string_to_array(s.missing_markets, ',')"}
_VALUES = ", ".join(["event_key", *(_STAGED_EXPRESSIONS.get(name, name) for name in _COLUMNS)])
# The columns that each kind of fact states, by the column of its timestamp.
_OWNED_COLUMNS: dict[str, list[str]] = {}
for _column in EVENTS.value_columns:
    if _column.stated_by and _column.name != f"{_column.stated_by}_at":
        _OWNED_COLUMNS.setdefault(f"{_column.stated_by}_at", []).append(_column.name)
_IDENTITY = ("session_id", "number")
_SETS = ", ".join(
    [
        "status = s.status",
        "version = s.version",
        *(f"{stamp} = coalesce(s.{stamp}, e.{stamp})" for stamp in _OWNED_COLUMNS),
        *(
            f"{name} = CASE WHEN s.{stamp} IS NULL THEN e.{name} ELSE {_STAGED_EXPRESSIONS.get(name, f's.{name}')} END"
            for stamp, names in _OWNED_COLUMNS.items()
            for name in names
        ),
    ]
)

_INSERT_NEW = (
    f"INSERT INTO facts.events ({_NAMES}) SELECT {_VALUES} FROM stage_events s WHERE s.session_id IS NOT NULL"
    " AND NOT EXISTS (SELECT FROM facts.events e WHERE e.event_key = s.event_key) ORDER BY event_key"
    " RETURNING event_key, id"
)


def write_events(
    connection: DbConnection, events: Mapping[str, Mapping[str, Any]], sessions: IdsByKey, known: Set[str]
) -> IdsByKey:
    """Insert the new events; of the `known` ones, update the columns that the facts own. Returns the new ids."""
    prepare_stage(connection, "stage_events", columns=_STAGE)
    with connection.cursor() as cursor, cursor.copy(f"COPY stage_events ({_NAMES}) FROM STDIN") as copy:
        for key, columns in sorted(events.items()):
            copy.write_row((key, *(_value(name, columns, sessions) for name in _COLUMNS)))
    if not events.keys().isdisjoint(known):
        connection.execute(f"UPDATE facts.events e SET {_SETS} FROM stage_events s WHERE s.event_key = e.event_key")
    if events.keys() <= known:
        return {}
    return dict(connection.execute(_INSERT_NEW).fetchall())


def clear_columns(connection: DbConnection, event_keys: Mapping[str, Sequence[str]]) -> None:
    """Remove what a kind of fact stated, by kind: all its versions were withdrawn. The event's session and number stay,
    because its versions refer to its row."""
    for kind, keys in event_keys.items():
        stamp = f"{kind}_at"
        names = [stamp, *(name for name in _OWNED_COLUMNS[stamp] if name not in _IDENTITY)]
        sets = ", ".join(f"{name} = NULL" for name in names)
        connection.execute(f"UPDATE facts.events SET {sets} WHERE event_key = ANY(%s)", (list(keys),))


def _value(name: str, columns: Mapping[str, Any], sessions: IdsByKey) -> Any:
    if name == "session_id":
        return sessions[columns["session"]] if "session" in columns else None
    value = columns.get(name)
    return ",".join(value) if isinstance(value, list) else value
