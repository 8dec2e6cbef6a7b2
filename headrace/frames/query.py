"""Builds the SQL of a view's method from its arguments.

A COPY, by which frames read, takes no parameters. Each value therefore becomes a literal through `literal`, which
escapes it; column and view names come from the catalogue only.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any

from headrace.frames.catalogue import Column, Scope, View
from headrace.frames.days import EVERY_DAY, Days
from headrace.frames.errors import BadArgument, UnknownColumn, suggestion

Value = str | int | bool
Values = Value | Sequence[Value]


@dataclass(frozen=True)
class Filters:
    """Which rows of a view. An empty tuple selects all. `equals`: accepted values by column."""

    days: Days = EVERY_DAY
    venues: tuple[int, ...] = ()
    sources: tuple[str, ...] = ()
    events: tuple[str, ...] = ()
    equals: Mapping[str, tuple[Value, ...]] = field(default_factory=dict)

    def texts(self) -> dict[str, str]:
        """What was asked for, in words, for the attributes of a frame."""
        parts: dict[str, Any] = {
            "days": "" if self.days.is_everything else str(self.days),
            "venue": self.venues,
            "source": self.sources,
            "event": self.events,
            **self.equals,
        }
        return {
            name: value if isinstance(value, str) else ", ".join(map(str, value))
            for name, value in parts.items()
            if value
        }


def filters_of(
    view: View,
    days: Days,
    *,
    venue: int | Sequence[int] | None = None,
    source: str | Sequence[str] | None = None,
    event: str | Sequence[str] | None = None,
    **equals: Values | None,
) -> Filters:
    """Raises BadArgument if the view cannot be filtered in this way. `model` is another name of `model_version`."""
    if equals.get("model") is not None:
        if equals.get("model_version") is not None:
            raise BadArgument("model and model_version exclude each other: both select by the version of the model")
        equals["model_version"] = equals.pop("model")
    filters = Filters(
        days,
        tuple(_venue(each) for each in _listed("venue", venue)),
        tuple(_text("source", each) for each in _listed("source", source)),
        tuple(_text("event", each) for each in _listed("event", event)),
        {name: _listed(name, values) for name, values in equals.items() if values is not None},
    )
    for name, values in filters.equals.items():
        if name not in view.filters:
            known = [*_ARGUMENTS, *view.filters]
            raise BadArgument(f"{view.name} cannot be filtered by {name!r}{suggestion(name, known)}")
        _require_values(view.column(name), values)
    is_given = {"days": not days.is_everything, "venue": bool(filters.venues), "event": bool(filters.events)}
    refused = [name for name, is_set in is_given.items() if is_set and name in _REFUSED.get(view.scope, ())]
    if filters.sources and view.scope is Scope.TIME:
        refused.append("source")
    if refused:
        raise BadArgument(f"{view.name} cannot be filtered by {' and '.join(refused)}: its rows have none")
    return filters


_ARGUMENTS = ("day", "from_day", "to_day", "venue", "source", "event", "columns")
_REFUSED = {Scope.SOURCE: ("days", "venue", "event"), Scope.TIME: ("venue",), Scope.SESSION: ("event",)}


def columns_of(view: View, columns: Sequence[str] | None) -> tuple[str, ...]:
    """The columns to read, in the given order. Raises UnknownColumn, BadArgument."""
    if columns is None:
        return view.names
    if isinstance(columns, str):
        raise BadArgument(f'columns is a list of names, such as columns=["{view.names[0]}"]; got {columns!r}')
    for name in columns:
        if name not in view.names:
            raise UnknownColumn(f"{view.name} has no column {name!r}{suggestion(str(name), view.names)}")
    if not columns or len(set(columns)) < len(columns):
        raise BadArgument(f"columns: expected different names of {view.name}, got {list(columns)}")
    return tuple(columns)


def statement_of(view: View, filters: Filters, columns: Sequence[str]) -> str:
    """The rows of a view in the order of its key."""
    source = f"analytics.{identifier(view.name)}" if view.is_stored else f"({_results(filters, columns)})"
    selected = ", ".join(f"v.{identifier(name)}" for name in columns)
    order = ", ".join(_sort_key(view.column(name)) for name in view.key)
    where = conditions(view, filters) if view.is_stored else []
    clause = f" WHERE {' AND '.join(where)}" if where else ""
    return f"SELECT {selected} FROM {source} v{clause} ORDER BY {order}"


def _sort_key(column: Column) -> str:
    """By code point, whatever the collation of the database."""
    return f"v.{identifier(column.name)}" + (' COLLATE "C"' if column.is_text else "")


def conditions(view: View, filters: Filters) -> list[str]:
    """SQL conditions on the view's rows, called `v`."""
    parts = [f"v.{identifier(name)} IN {_list(values)}" for name, values in filters.equals.items()]
    match view.scope:
        case Scope.SESSION:
            parts += _session_conditions("v", filters)
        case Scope.EVENT:
            parts += _event_conditions("v.event_key", filters)
        case Scope.ENTITY:
            events = _event_conditions("n.event_key", filters)
            if events:
                entries = f"SELECT n.entity_key FROM analytics.entries n WHERE {' AND '.join(events)}"
                parts.append(f"v.entity_key IN ({entries})")
        case Scope.KEY:
            parts += _key_conditions("v.event_key", filters)
        case Scope.TIME:
            parts += _time_conditions("v.failed_at", filters.days)
            parts += [f"v.key IN {_list(filters.events)}"] if filters.events else []
        case Scope.SOURCE:
            parts += [f"v.source IN {_list(filters.sources)}"] if filters.sources else []
    return parts


def identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def literal(value: Value | dt.date) -> str:
    """An SQL literal. Needs standard_conforming_strings, which the connection sets. Raises BadArgument."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, dt.date):
        return f"date '{value.isoformat()}'"
    if "\0" in value or not value.isprintable():
        raise BadArgument(f"a value must be printable text, got {value!r}")
    return "'" + value.replace("'", "''") + "'"


def _list(values: Iterable[Value]) -> str:
    return f"({', '.join(map(literal, values))})"


def _session_conditions(name: str, filters: Filters) -> list[str]:
    parts = [f"{name}.date {operator} {literal(day)}" for operator, day in _bounds(filters.days)]
    parts += [f"{name}.venue IN {_list(filters.venues)}"] if filters.venues else []
    return parts + ([f"{name}.source IN {_list(filters.sources)}"] if filters.sources else [])


def _event_conditions(key: str, filters: Filters) -> list[str]:
    parts = [f"{key} IN {_list(filters.events)}"] if filters.events else []
    sessions = _session_conditions("s", filters)
    if sessions:
        events = "SELECT e.event_key FROM analytics.events e JOIN analytics.sessions s USING (session_key)"
        parts.append(f"{key} IN ({events} WHERE {' AND '.join(sessions)})")
    return parts


def _key_conditions(key: str, filters: Filters) -> list[str]:
    parts = [f"{key} IN {_list(filters.events)}"] if filters.events else []
    parts += [f"split_part({key}, ':', 2) {operator} '{day.isoformat()}'" for operator, day in _bounds(filters.days)]
    venues = [f"{venue:02d}" for venue in filters.venues]
    parts += [f"split_part({key}, ':', 3) IN {_list(venues)}"] if venues else []
    return parts + ([f"split_part({key}, ':', 1) IN {_list(filters.sources)}"] if filters.sources else [])


def _time_conditions(column: str, days: Days) -> list[str]:
    parts = [] if days.first is None else [f"{column} >= timestamptz '{days.first.isoformat()} 00:00+00'"]
    if days.last is None:
        return parts
    return [*parts, f"{column} < timestamptz '{days.last.isoformat()} 00:00+00' + interval '1 day'"]


def _bounds(days: Days) -> list[tuple[str, dt.date]]:
    if days.first is not None and days.first == days.last:
        return [("=", days.first)]
    limits = ((">=", days.first), ("<=", days.last))
    return [(operator, day) for operator, day in limits if day is not None]


def _results(filters: Filters, columns: Sequence[str]) -> str:
    """The columns of RESULTS; payouts are only read if their columns are among `columns`.

    A market counts as in the return rates (services/loader/returns.py).
    """
    where = " AND ".join(_event_conditions("e.event_key", filters)) or "true"
    outcome = ", ".join(f"o.{name}" for name in _OUTCOME_COLUMNS)
    markets = [market for market in _SLOT_MARKETS if f"{market}_amount" in columns]
    amounts = "".join(f", {_amount(market)}" for market in markets)
    return f"""
WITH chosen AS MATERIALIZED (
    SELECT e.event_key, e.session_key, s.source, s.date, s.venue, e.number, e.scheduled_at, e.status, e.missing_markets
    FROM analytics.events e JOIN analytics.sessions s USING (session_key) WHERE {where}
){_paid(markets)}
SELECT c.*, {outcome}, n.entity_key{amounts}
FROM chosen c JOIN analytics.outcomes o USING (event_key)
LEFT JOIN analytics.entries n USING (event_key, slot)
{"LEFT JOIN has_market h USING (event_key)" if markets else ""} {" ".join(map(_payout_join, markets))}
"""


def _paid(markets: Sequence[str]) -> str:
    """The payouts of some markets, and which of them each event has."""
    if not markets:
        return ""
    has_market = ", ".join(f"bool_or(market = '{market}') AS {market}" for market in markets)
    return f""", paid AS MATERIALIZED (
    SELECT t.event_key, t.market, t.selection, t.amount FROM analytics.transactions t
    WHERE t.market IN {_list(markets)} AND t.event_key IN (SELECT event_key FROM chosen)
), has_market AS (SELECT event_key, {has_market} FROM paid GROUP BY event_key)"""


_OUTCOME_COLUMNS = ("slot", "place", "code", "course", "start_timing_s", "refunded")
# Markets whose selections are single slots.
_SLOT_MARKETS = ("win", "place")


def _payout_join(market: str) -> str:
    return (
        f"LEFT JOIN paid {market} ON {market}.event_key = c.event_key AND {market}.market = '{market}'"
        f" AND {market}.selection = o.slot::text"
    )


def _amount(market: str) -> str:
    is_missing = f"'{market}' = ANY (coalesce(c.missing_markets, '{{}}'))"
    counts = f"c.status = 'settled' AND NOT o.refunded AND h.{market} AND NOT {is_missing}"
    return f"CASE WHEN {counts} THEN coalesce({market}.amount, 0) END AS {market}_amount"


def _listed(name: str, values: Any) -> tuple[Any, ...]:
    if values is None:
        return ()
    listed = (values,) if isinstance(values, str | Integral) else tuple(values)
    if not listed:
        raise BadArgument(f"{name} is empty: leave it out to select all rows")
    return listed


def _require_values(column: Column, values: tuple[Value, ...]) -> None:
    """Raises BadArgument if a value is not of the column's type or not in its vocabulary."""
    for value in values:
        if isinstance(value, bool) != (column.sql_type == "boolean") or isinstance(value, str) != column.is_text:
            raise BadArgument(f"{column.name}: expected {'text' if column.is_text else column.sql_type}, got {value!r}")
        if column.values and value not in column.values:
            raise BadArgument(f"{column.name}: {value!r} is no value{suggestion(str(value), column.values)}")


def _venue(value: Any) -> int:
    """Also of numpy's integers."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise BadArgument(f"venue is a number, such as venue=7 or venue=[7, 12]; got {value!r}")
    return int(value)


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise BadArgument(f"{name} is text, got {value!r}")
    return value
