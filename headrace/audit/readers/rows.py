"""Checks that the current rows equal the fold of their facts' versions, in the audit's own snapshot."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import orjson
import psycopg

from headrace.audit.accounting import Finding
from headrace.audit.window import AuditWindow
from services.loader.fold import FoldedFact, fold
from services.loader.postgres_state import read_states
from services.loader.rows import known_json, rows_of, status_of
from services.loader.state import EventState
from shared.events import Listed, Observed, Settled

AuditConnection = psycopg.Connection[Any]
KINDS = ("listed", "observed", "settled")
# Events per query: about 1,000 versions of 5 KB, 15 MB when decoded.
EVENTS_PER_QUERY = 300
_ROW_QUERIES = {
    "entries": "SELECT e.event_key, t.slot, n.entity_key, t.measures::text, t.categories::text FROM facts.entries t"
    " LEFT JOIN facts.entities n ON n.id = t.entity_id",
    "observations": "SELECT e.event_key, t.slot, t.course, t.measures::text FROM facts.observations t",
    "outcomes": "SELECT e.event_key, t.slot, t.place, t.code, t.course, t.start_timing_s, t.refunded"
    " FROM facts.outcomes t",
    "transactions": "SELECT e.event_key, t.market, t.selection, t.amount, t.ordinal FROM facts.transactions t",
}
_COLUMNS = (
    "session", "number", "scheduled_at", "title", "distance_m", "card_key", "status", "technique", "conditions",
    "observed_conditions", "missing_markets", "version",
)  # fmt: skip
_EVENT_QUERY = (
    "SELECT e.event_key, s.session_key, e.number, e.scheduled_at, e.title, e.distance_m, e.card_key, e.status,"
    " e.technique, e.conditions::text, e.observed_conditions::text, e.missing_markets, e.version FROM facts.events e"
    " JOIN facts.sessions s ON s.id = e.session_id WHERE e.event_key = ANY(%s)"
)
# Indexes of columns with JSON text, which the database formats in its own way.
_JSON_COLUMNS = {"entries": (3, 4), "observations": (3,), "events": (9, 10)}

Row = tuple[Any, ...]


def differing_rows(connection: AuditConnection, window: AuditWindow, wanted: Iterable[str] | None) -> Iterator[Finding]:
    """Events whose rows differ from the fold of their versions. `wanted`: only these keys. Call within a snapshot."""
    keys = _keys(connection, window, wanted)
    for begin in range(0, len(keys), EVENTS_PER_QUERY):
        yield from _compare_events(connection, keys[begin : begin + EVENTS_PER_QUERY])


def _keys(connection: AuditConnection, window: AuditWindow, wanted: Iterable[str] | None) -> list[str]:
    return [
        key
        for (key,) in connection.execute(
            "SELECT e.event_key FROM facts.events e JOIN facts.sessions s ON s.id = e.session_id"
            " WHERE coalesce(s.date >= %s, true) AND coalesce(s.date <= %s, true)"
            " AND coalesce(e.event_key = ANY(%s), true) ORDER BY e.id",
            (window.first, window.last, None if wanted is None else sorted(wanted)),
        )
    ]


def _compare_events(connection: AuditConnection, keys: Sequence[str]) -> Iterator[Finding]:
    states = read_states(connection, ((key, kind) for key in keys for kind in KINDS))
    expected: dict[str, dict[str, set[Row]]] = defaultdict(lambda: defaultdict(set))
    for key in keys:
        _add_expected_rows(states[key], expected)
    actual = _actual_rows(connection, keys)
    for table in ("events", *_ROW_QUERIES):
        for key in keys:
            expected_rows, actual_rows = expected[table][key], actual[table][key]
            if expected_rows != actual_rows:
                yield Finding("rows differ", key, f"facts.{table}", _difference(table, expected_rows, actual_rows))


def _add_expected_rows(state: EventState, expected: dict[str, dict[str, set[Row]]]) -> None:
    folded = {kind: fold(versions) for kind, versions in state.versions.items() if versions}
    for each in folded.values():
        for table, row in rows_of(each.fact):
            expected[table.name][state.event_key].add(_comparable(table.name, row))
    expected["events"][state.event_key].add(_comparable("events", _event_row(state, folded)))


def _event_row(state: EventState, folded: dict[str, FoldedFact]) -> Row:
    listed, observed, settled = (folded[kind].fact if kind in folded else None for kind in KINDS)
    columns: dict[str, Any] = dict.fromkeys(_COLUMNS)
    if isinstance(listed, Listed):
        columns |= {
            "session": listed.session.session_key,
            "number": listed.number,
            "scheduled_at": listed.scheduled_at,
            "title": listed.title,
            "distance_m": listed.distance_m,
            "card_key": listed.card_key,
        }
    if isinstance(observed, Observed):
        columns |= {"observed_conditions": known_json(observed.conditions)}
    if isinstance(settled, Settled):
        columns |= {
            "technique": settled.technique,
            "conditions": known_json(settled.conditions),
            "missing_markets": settled.missing_markets or None,
        }
    newest = settled or observed or listed
    columns |= {"status": newest and status_of(newest), "version": sum(state.version_counts.values())}
    return (state.event_key, *columns.values())


def _actual_rows(connection: AuditConnection, keys: Sequence[str]) -> dict[str, dict[str, set[Row]]]:
    actual: dict[str, dict[str, set[Row]]] = defaultdict(lambda: defaultdict(set))
    queries = {
        table: f"{query} JOIN facts.events e ON e.id = t.event_id WHERE e.event_key = ANY(%s)"
        for table, query in _ROW_QUERIES.items()
    }
    for table, query in (queries | {"events": _EVENT_QUERY}).items():
        for row in connection.execute(query, (list(keys),)):
            actual[table][row[0]].add(_comparable(table, row))
    return actual


def _comparable(table: str, row: Row) -> Row:
    """A comparable row: lists as tuples, JSON with sorted keys."""
    values: list[Any] = [tuple(value) if isinstance(value, list) else value for value in row]
    for at in _JSON_COLUMNS.get(table, ()):
        if values[at] is not None:
            values[at] = orjson.dumps(orjson.loads(values[at]), option=orjson.OPT_SORT_KEYS)
    return tuple(values)


def _difference(table: str, expected: set[Row], actual: set[Row]) -> str:
    if table == "events" and expected and actual:
        (one,), (other,) = expected, actual
        names = [name for name, a, b in zip(_COLUMNS, one[1:], other[1:], strict=True) if a != b]
        return f"differs from the versions in {', '.join(names)}"
    missing, extra = len(expected - actual), len(actual - expected)
    return f"{missing} rows of the versions are missing, {extra} rows are not in the versions"
