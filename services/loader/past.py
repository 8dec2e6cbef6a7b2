"""Computes what was known earlier of an event's facts, from its stored versions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any, NamedTuple

import orjson

from services.loader.as_of import KnownEvent, StoredVersion, known_event
from services.loader.fold import FoldedFact
from services.loader.rows import event_columns, known_at_of, rows_of
from shared.events import Listed, Settled, Withdrawal

_JSON_COLUMNS = ("conditions", "observed_conditions")


class PastFact(NamedTuple):
    """A row of facts.past_facts: what was known of a fact from `valid_from` until before `valid_to`."""

    kind: str
    valid_from: datetime
    valid_to: datetime
    versions: int
    fact: dict[str, Any]


class _State(NamedTuple):
    versions: int
    fold: FoldedFact


def past_facts(event_key: str, stored: Sequence[StoredVersion]) -> list[PastFact]:
    """The ranges of time in which another fact was known than now, by kind and time. Most events have none."""
    events = [(instant, known_event(event_key, stored, instant)) for instant in sorted(_instants(stored))]
    return [past for kind in ("listed", "observed", "settled") for past in _of_kind(kind, events)]


def _of_kind(kind: str, events: Sequence[tuple[datetime, KnownEvent | None]]) -> Iterator[PastFact]:
    changes: list[tuple[datetime, _State | None]] = []
    for instant, event in events:
        state = _state(event, kind)
        if state != (changes[-1][1] if changes else None):
            changes.append((instant, state))
    for (valid_from, known), (valid_to, _) in pairwise(changes):
        if known is not None:
            yield PastFact(kind, valid_from, valid_to, known.versions, _values(known.fold))


def _state(event: KnownEvent | None, kind: str) -> _State | None:
    if event is None or kind not in event.facts:
        return None
    fold = event.facts[kind]
    return _State(event.counts[kind], FoldedFact(fold.fact, fold.changed_at))


def _values(fold: FoldedFact) -> dict[str, Any]:
    """The columns of facts.events that the fact owns, and its outcomes and transactions, as JSON."""
    values = event_columns(fold.fact, fold.changed_at)
    values |= {name: orjson.loads(values[name]) for name in _JSON_COLUMNS if values.get(name)}
    if isinstance(fold.fact, Settled):
        values |= {"status": fold.fact.status, "outcomes": [], "transactions": []}
        for table, row in rows_of(fold.fact):
            values[table.name].append(dict(zip(table.columns[1:], row[1:], strict=True)))
    known = {name: value for name, value in values.items() if value is not None}
    fact: dict[str, Any] = orjson.loads(orjson.dumps(known))  # times as text, as the database returns them
    return fact


def _instants(stored: Sequence[StoredVersion]) -> set[datetime]:
    """The times at which something else may be known. A fact without `known_at` is dated by the schedules of cards."""
    facts = [version.fact for version in stored if not isinstance(version.fact, Withdrawal)]
    schedules = {fact.scheduled_at for fact in facts if isinstance(fact, Listed)} | {None}
    return {known_at_of(fact, schedule) for fact in facts for schedule in schedules}
