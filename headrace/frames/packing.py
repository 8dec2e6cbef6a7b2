"""The views of a data pack, from the catalogue."""

from __future__ import annotations

from headrace.frames.catalogue import VIEWS, Scope, View
from headrace.frames.days import Days
from headrace.frames.query import Filters, identifier, statement_of
from headrace.packs.contents import PackedView
from headrace.packs.manifest import PackColumn

# Left out: results, which can be joined from other views; sums and ranges over all days; records that have not become
# rows.
_OMITTED = frozenset({"results", "return_rates", "entity_history", "parked", "dead_letters"})
_TYPE_NAMES = {
    "smallint": "int2",
    "integer": "int4",
    "bigint": "int8",
    "double precision": "float8",
    "boolean": "bool",
    "timestamp with time zone": "timestamptz",
    "text[]": "_text",
}


def packed_views(days: Days) -> tuple[PackedView, ...]:
    """Each view with its rows of the days; entities that took part in them; reference tables as they are."""
    return tuple(_packed(view, days) for view in VIEWS.values() if view.name not in _OMITTED)


def _packed(view: View, days: Days) -> PackedView:
    columns = [
        PackColumn(name=each.name, type=each.sql_type, unit=each.unit, meaning=each.meaning, none=each.none)
        for each in view.columns
    ]
    types = {each.name: _TYPE_NAMES.get(each.sql_type, each.sql_type) for each in view.columns}
    return PackedView(view.name, view.meaning, view.key, _is_dated(view), columns, types, _statement(view, days))


def _is_dated(view: View) -> bool:
    return view.scope in {Scope.SESSION, Scope.EVENT}


def _statement(view: View, days: Days) -> str:
    rows = statement_of(view, Filters(days), view.names)
    order = ", ".join(f"p.{identifier(name)}{_collation(view, name)}" for name in view.key)
    if not _is_dated(view):
        return f"SELECT '' AS day, p.* FROM ({rows}) p ORDER BY {order}"
    day = f"split_part(p.{'session_key' if view.scope is Scope.SESSION else 'event_key'}, ':', 2)"
    return f"SELECT {day} AS day, p.* FROM ({rows}) p ORDER BY 1, {order}"


def _collation(view: View, name: str) -> str:
    """By code point, whatever the collation of the database."""
    return ' COLLATE "C"' if view.column(name).is_text else ""
