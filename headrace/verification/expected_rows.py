"""Computes the rows that the stored versions of an event must have, with the loader's own functions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from headrace.verification.inconsistency import Key, Values
from services.loader.apply import change_row, profiles_of
from services.loader.as_of import KnownEvent, StoredVersion
from services.loader.past import past_facts
from services.loader.rows import event_columns, rows_of
from services.loader.schema import CORRECTIONS, EVENTS, FACT_TABLES, REGRESSIONS, Table
from shared.events import Listed, Settled

ALL_EVENT_COLUMNS = tuple({"session_id": "session"}.get(name, name) for name in EVENTS.values)
"""The columns of facts.events, with the session's key in place of its id."""
SESSION_COLUMNS = ("session_title", "session_grade")
"""Those that `headrace db rebuild` computes again."""
EVENT_COLUMNS = tuple(name for name in ALL_EVENT_COLUMNS if name not in SESSION_COLUMNS)
JSON_COLUMNS = frozenset({"measures", "categories", "conditions", "observed_conditions"})
EVENT_TABLES = (*FACT_TABLES, CORRECTIONS, REGRESSIONS)
PROFILE_COLUMNS = ("name", "categories", "measures")

Rows = dict[Key, Values]


def rows_by_table(events: Sequence[KnownEvent]) -> dict[Table, Rows]:
    """The rows of the tables of facts, and of corrections and regressions, by natural key."""
    rows: dict[Table, Rows] = {table: {} for table in EVENT_TABLES}
    for event in events:
        for fold in event.facts.values():
            pairs = list(rows_of(fold.fact))
            pairs += [(CORRECTIONS, change_row(CORRECTIONS, fold.fact, note)) for note in fold.corrections]
            pairs += [(REGRESSIONS, change_row(REGRESSIONS, fold.fact, note)) for note in fold.regressions]
            for table, row in pairs:
                plain = tuple(map(_parsed, table.columns, row))
                rows[table][plain[: len(table.key)]] = plain[len(table.key) :]
    return rows


def event_row(event: KnownEvent, actual: Values) -> Values:
    """The session and the number of the stored row stay if all cards were withdrawn."""
    columns: dict[str, Any] = {"status": event.status, "version": event.version}
    columns |= {} if "listed" in event.facts else dict(zip(ALL_EVENT_COLUMNS[:2], actual, strict=False))
    for fold in event.facts.values():
        columns |= event_columns(fold.fact, fold.changed_at)
    return tuple(_parsed(name, columns.get(name)) for name in ALL_EVENT_COLUMNS)


def profile_rows(event: KnownEvent) -> Rows:
    """By entity key, known_at and record id."""
    return {
        key: (stated.info.name, _known(stated.info.categories), _known(measures))
        for version in event.versions.get("listed", ())
        for key, (stated, measures) in profiles_of(version).items()
    }


def past_rows(events: Iterable[tuple[str, Sequence[StoredVersion]]]) -> Rows:
    """Rows of facts.past_facts of events with their versions, by natural key."""
    rows = {}
    for event_key, versions in events:
        if len(versions) > len({version.kind for version in versions}):
            for past in past_facts(event_key, versions):
                rows[event_key, past.kind, past.valid_from] = (past.valid_to, past.versions, past.fact)
    return rows


def session_values(event: KnownEvent) -> tuple[Key, Values]:
    """The session's key, with its source, day and venue."""
    card = event.facts["listed"].fact
    assert isinstance(card, Listed)  # noqa: S101  # callers pass listed events
    return (card.session.session_key,), (card.source, card.session.date, card.session.venue)


def settled_of(event: KnownEvent) -> Settled | None:
    fact = event.facts["settled"].fact if "settled" in event.facts else None
    return fact if isinstance(fact, Settled) else None


def gap_in(versions: Sequence[StoredVersion]) -> str | None:
    """The first kind whose versions are not numbered 1, 2, 3 ..., with the numbers; None if there is none."""
    numbers: dict[str, list[int]] = defaultdict(list)
    for version in versions:
        numbers[version.kind].append(version.number)
    for kind, each in sorted(numbers.items()):
        if sorted(each) != list(range(1, len(each) + 1)):
            return f"{kind} {', '.join(map(str, sorted(each)))}"
    return None


def _parsed(column: str, value: Any) -> Any:
    return orjson.loads(value) if column in JSON_COLUMNS and isinstance(value, str) else value


def _known(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
