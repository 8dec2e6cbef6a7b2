"""Checks that the current rows equal the fold of their facts' versions, in the audit's own snapshot."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import orjson
import psycopg

from headrace.audit.accounting import Finding
from headrace.audit.window import AuditWindow
from services.loader.fold import Folded, fold
from services.loader.postgres_state import read_states
from services.loader.rows import known_text, rows_of, status_of
from services.loader.state import EventState
from shared.events import Listed, Observed, Settled

Rows = psycopg.Connection[Any]
KINDS = ("listed", "observed", "settled")
# Events per query: about 1,000 versions of 5 KB, 15 MB when decoded.
CHUNK = 300
_ACTUAL = {
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
_EVENTS = (
    "SELECT e.event_key, s.session_key, e.number, e.scheduled_at, e.title, e.distance_m, e.card_key, e.status,"
    " e.technique, e.conditions::text, e.observed_conditions::text, e.missing_markets, e.version FROM facts.events e"
    " JOIN facts.sessions s ON s.id = e.session_id WHERE e.event_key = ANY(%s)"
)
# Indexes of columns with JSON text, which the database formats in its own way.
_JSON = {"entries": (3, 4), "observations": (3,), "events": (9, 10)}

Row = tuple[Any, ...]


def differing(connection: Rows, window: AuditWindow, wanted: Iterable[str] | None) -> Iterator[Finding]:
    """Events whose rows differ from the fold of their versions. `wanted`: only these keys. Call within a snapshot."""
    keys = _keys(connection, window, wanted)
    for begin in range(0, len(keys), CHUNK):
        yield from _of_chunk(connection, keys[begin : begin + CHUNK])


def _keys(connection: Rows, window: AuditWindow, wanted: Iterable[str] | None) -> list[str]:
    return [
        key
        for (key,) in connection.execute(
            "SELECT e.event_key FROM facts.events e JOIN facts.sessions s ON s.id = e.session_id"
            " WHERE coalesce(s.date >= %s, true) AND coalesce(s.date <= %s, true)"
            " AND coalesce(e.event_key = ANY(%s), true) ORDER BY e.id",
            (window.first, window.last, None if wanted is None else sorted(wanted)),
        )
    ]


def _of_chunk(connection: Rows, keys: Sequence[str]) -> Iterator[Finding]:
    states = read_states(connection, ((key, kind) for key in keys for kind in KINDS))
    expected: dict[str, dict[str, set[Row]]] = defaultdict(lambda: defaultdict(set))
    for key in keys:
        _expect(states[key], expected)
    actual = _actual(connection, keys)
    for table in ("events", *_ACTUAL):
        for key in keys:
            should, does = expected[table][key], actual[table][key]
            if should != does:
                yield Finding("rows differ", key, f"facts.{table}", _difference(table, should, does))


def _expect(state: EventState, expected: dict[str, dict[str, set[Row]]]) -> None:
    folded = {kind: fold(versions) for kind, versions in state.versions.items() if versions}
    for each in folded.values():
        for table, row in rows_of(each.fact):
            expected[table.name][state.event_key].add(_plain(table.name, row))
    expected["events"][state.event_key].add(_plain("events", _event_row(state, folded)))


def _event_row(state: EventState, folded: dict[str, Folded]) -> Row:
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
        columns |= {"observed_conditions": known_text(observed.conditions)}
    if isinstance(settled, Settled):
        columns |= {
            "technique": settled.technique,
            "conditions": known_text(settled.conditions),
            "missing_markets": settled.missing_markets or None,
        }
    newest = settled or observed or listed
    columns |= {"status": newest and status_of(newest), "version": sum(state.stored.values())}
    return (state.event_key, *columns.values())


def _actual(connection: Rows, keys: Sequence[str]) -> dict[str, dict[str, set[Row]]]:
    actual: dict[str, dict[str, set[Row]]] = defaultdict(lambda: defaultdict(set))
    queries = {
        table: f"{query} JOIN facts.events e ON e.id = t.event_id WHERE e.event_key = ANY(%s)"
        for table, query in _ACTUAL.items()
    }
    for table, query in (queries | {"events": _EVENTS}).items():
        for row in connection.execute(query, (list(keys),)):
            actual[table][row[0]].add(_plain(table, row))
    return actual


def _plain(table: str, row: Row) -> Row:
    """A comparable row: lists as tuples, JSON with sorted keys."""
    plain: list[Any] = [tuple(value) if isinstance(value, list) else value for value in row]
    for at in _JSON.get(table, ()):
        if plain[at] is not None:
            plain[at] = orjson.dumps(orjson.loads(plain[at]), option=orjson.OPT_SORT_KEYS)
    return tuple(plain)


def _difference(table: str, should: set[Row], does: set[Row]) -> str:
    if table == "events" and should and does:
        (one,), (other,) = should, does
        names = [name for name, a, b in zip(_COLUMNS, one[1:], other[1:], strict=True) if a != b]
        return f"differs from the versions in {', '.join(names)}"
    return f"{len(should - does)} rows of the versions are missing, {len(does - should)} rows are not in the versions"
