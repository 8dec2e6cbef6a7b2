"""What a pack contains: the views, the query of each and the names of its files."""

from __future__ import annotations

from datetime import date

from headrace.frames.catalogue import VIEWS, Scope, View
from headrace.frames.days import Days
from headrace.frames.query import Filters, identifier, statement_of

MANIFEST, README, DICTIONARY, LICENCE = "manifest.json", "README.md", "dictionary.csv", "LICENCE.txt"
# Left out: results, which can be joined from other views; sums over all days; and records that have not become rows.
_OMITTED = frozenset({"results", "return_rates", "parked", "dead_letters"})
PACKED_VIEWS = tuple(view for view in VIEWS.values() if view.name not in _OMITTED)

_TYPE_NAMES = {
    "smallint": "int2",
    "integer": "int4",
    "bigint": "int8",
    "double precision": "float8",
    "boolean": "bool",
    "timestamp with time zone": "timestamptz",
    "text[]": "_text",
}


def is_dated(view: View) -> bool:
    """Whether the view has one file for each day."""
    return view.scope in {Scope.SESSION, Scope.EVENT}


def statement(view: View, days: Days) -> str:
    """The rows of the view in the order of day and key. The first column is the day; empty for a view without days."""
    rows = statement_of(view, Filters(days), view.names)
    order = ", ".join(f"{identifier(name)}{_collation(view, name)}" for name in view.key)
    if not is_dated(view):
        return f"SELECT '' AS day, p.* FROM ({rows}) p ORDER BY {order}"
    day = f"split_part(p.{'session_key' if view.scope is Scope.SESSION else 'event_key'}, ':', 2)"
    return f"SELECT {day} AS day, p.* FROM ({rows}) p ORDER BY 1, {order}"


def types_of(view: View) -> dict[str, str]:
    """The PostgreSQL type (`pg_type.typname`) of each column in order."""
    return {column.name: _TYPE_NAMES.get(column.sql_type, column.sql_type) for column in view.columns}


def path_of(view: View, day: date | None) -> str:
    return f"{view.name}/part.parquet" if day is None else f"{view.name}/date={day}/part.parquet"


def _collation(view: View, name: str) -> str:
    """By code point, whatever the collation of the database."""
    return ' COLLATE "C"' if view.column(name).is_text else ""
