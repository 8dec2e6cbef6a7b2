"""A batch of facts against what is known: which rows to write, which to remove, what to tell downstream. Pure."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

import zstandard

from services.loader import returns
from services.loader.fold import FactEvent, Version, changes, corrections, fold, regressions, supersede
from services.loader.postgres_state import EventState
from services.loader.resolve import SessionRow
from services.loader.rows import Row, conditions_text, json_text, known_at_of, rows_of, status_of
from services.loader.schema import CORRECTIONS, FACT_TABLES, REGRESSIONS, VERSIONS, Table
from shared.events import EntityInfo, Listed, Observed, Settled, day_of
from shared.records import Received


@dataclass
class Told:
    """A loaded event to be, once its row's id is known."""

    received: Received
    known_at: datetime
    version: int
    status: str
    scheduled_at: datetime | None
    changed: tuple[str, ...]


@dataclass
class Effects:
    """Everything a batch does to the tables, in memory."""

    rows: dict[Table, list[Row]] = field(default_factory=lambda: {table: [] for table in FACT_TABLES})
    removed: dict[Table, list[Row]] = field(default_factory=lambda: defaultdict(list))
    sessions: list[SessionRow] = field(default_factory=list)
    events: dict[str, dict[str, Any]] = field(default_factory=lambda: defaultdict(dict))
    entities: dict[str, tuple[datetime, str, EntityInfo]] = field(default_factory=dict)
    rates: dict[tuple[int, str, returns.Cell], tuple[returns.Sums, datetime]] = field(default_factory=dict)
    days: set[tuple[str, date]] = field(default_factory=set)
    told: list[Told] = field(default_factory=list)
    regressed: int = 0


class Application:
    """Applies facts one by one to the states they concern, then says what is different from before the batch."""

    def __init__(self, states: dict[str, EventState]) -> None:
        self._states = states
        # Level 1: a fact of 2 KB in 9 us; making a compressor costs as much, so one serves the batch.
        self._compressor = zstandard.ZstdCompressor(level=1)
        self._before: dict[tuple[str, str], FactEvent | None] = {}
        self._after: dict[tuple[str, str], tuple[FactEvent, Received, datetime]] = {}
        self.effects = Effects()

    def apply(self, received: Received) -> None:
        fact: FactEvent = received.message
        state = self._states.setdefault(fact.event_key, EventState(fact.event_key))
        if isinstance(fact, Listed):
            state.scheduled_at = fact.scheduled_at or state.scheduled_at
        known_at = known_at_of(fact, state.scheduled_at)
        version = Version(known_at, received.revision, received.event_id, fact)
        history = state.versions.get(fact.kind, [])
        if any(old.record_id == version.record_id and old.fact == fact for old in history):
            return
        before = self._current(fact.event_key, fact.kind, history)
        candidates = supersede(history, version)
        after = fact if before is None else fold(candidates)
        found = [] if before is None else changes(before, after)
        if before is not None:
            self._note_regressions(version, after, candidates)
            if not found:
                return
            self._note(CORRECTIONS, version, [(change.field, change.old, change.new) for change in corrections(found)])
        self._before.setdefault((fact.event_key, fact.kind), before)
        self._after[fact.event_key, fact.kind] = (after, received, known_at)
        state.versions[fact.kind] = candidates
        self._store(state, version, received, tuple(change.field for change in found))
        if isinstance(fact, Listed):
            self._meet(fact, known_at)

    def finish(self) -> Effects:
        """The rows that differ from before the batch, the columns of the events, and what their returns moved."""
        for (event_key, kind), (after, received, known_at) in self._after.items():
            before = self._before[event_key, kind]
            self._difference(before, after)
            self._columns(self._states[event_key], after, known_at)
            if isinstance(after, Settled):
                self._returns(
                    before, after, received.record.partition, self._states[event_key].scheduled_at or known_at
                )
            day = day_of(event_key)
            if day is not None:
                self.effects.days.add((after.source, day))
        return self.effects

    def _current(self, event_key: str, kind: str, history: list[Version]) -> FactEvent | None:
        if (event_key, kind) in self._after:
            return self._after[event_key, kind][0]
        return fold(history) if history else None

    def _store(self, state: EventState, version: Version, received: Received, changed: tuple[str, ...]) -> None:
        kind = version.fact.kind
        number = state.stored[kind] = state.stored.get(kind, 0) + 1
        state.version += 1
        status = status_of(self._after[state.event_key, kind][0])
        if kind == "settled" or (kind == "observed" and state.status == "listed"):
            state.status = status
        self.effects.rows.setdefault(VERSIONS, []).append(
            (state.event_key, kind, number, version.known_at, version.revision, version.record_id,
             self._compressor.compress(received.record.value))
        )  # fmt: skip
        self.effects.told.append(Told(received, version.known_at, number, state.status, state.scheduled_at, changed))

    def _note_regressions(self, version: Version, after: FactEvent, candidates: list[Version]) -> None:
        """What an older version lacks says nothing about what a newer one gave."""
        if max(candidates, key=lambda candidate: candidate[:2])[:2] == version[:2]:
            lost = regressions(after, version.fact)
            self.effects.regressed += len(lost)
            self._note(REGRESSIONS, version, [(change.field, change.old) for change in lost])

    def _note(self, table: Table, version: Version, notes: list[tuple[str | None, ...]]) -> None:
        fact = version.fact
        self.effects.rows.setdefault(table, []).extend(
            (fact.event_key, fact.kind, version.record_id, *note, version.known_at) for note in notes
        )

    def _meet(self, fact: Listed, known_at: datetime) -> None:
        for entry in fact.entries:
            if entry.entity is None:
                continue
            met = self.effects.entities.get(entry.entity.entity_key)
            if met is None or met[0] <= known_at:
                self.effects.entities[entry.entity.entity_key] = (known_at, fact.source, entry.entity)

    def _difference(self, before: FactEvent | None, after: FactEvent) -> None:
        if before is None:
            for table, row in rows_of(after):
                self.effects.rows[table].append(row)
            return
        old, new = set(rows_of(before)), set(rows_of(after))
        for table, row in sorted(new - old, key=lambda item: (item[0].name, item[1][:2])):
            self.effects.rows[table].append(row)
        kept = {(table, row[: len(table.key)]) for table, row in new}
        for table, row in old - new:
            if (table, row[: len(table.key)]) not in kept:
                self.effects.removed[table].append(row[: len(table.key)])

    def _columns(self, state: EventState, after: FactEvent, known_at: datetime) -> None:
        columns = self.effects.events[state.event_key]
        columns |= {"status": state.status, "version": state.version}
        if isinstance(after, Listed):
            session = after.session
            self.effects.sessions.append(
                SessionRow(session.session_key, after.source, session.venue, session.date, session.title, session.grade)
            )
            columns |= {
                "session": session.session_key, "number": after.number, "scheduled_at": after.scheduled_at,
                "title": after.title, "distance_m": after.distance_m, "card_key": after.card_key, "listed_at": known_at,
            }  # fmt: skip
        elif isinstance(after, Observed):
            columns |= {"observed_conditions": conditions_text(after.conditions), "observed_at": known_at}
        else:
            columns |= {
                "technique": after.technique, "conditions": conditions_text(after.conditions),
                "missing_markets": list(after.missing_markets) or None, "settled_at": known_at,
            }  # fmt: skip

    def _returns(self, before: FactEvent | None, after: Settled, partition: int, as_of: datetime) -> None:
        was = returns.contributions(before if isinstance(before, Settled) else None)
        for cell, sums in returns.difference(was, returns.contributions(after)).items():
            place = (partition, after.source, cell)
            so_far, newest = self.effects.rates.get(place, ((0, 0, 0), as_of))
            total = (so_far[0] + sums[0], so_far[1] + sums[1], so_far[2] + sums[2])
            self.effects.rates[place] = (total, max(newest, as_of))


def entity_rows(effects: Effects) -> list[Row]:
    """Rows of the entities met, natural keys where ids will be."""
    return [
        (key, source, info.name, json_text(info.categories), known_at)
        for key, (known_at, source, info) in effects.entities.items()
    ]


def rate_rows(effects: Effects) -> list[Row]:
    return [(p, source, *cell, *sums, as_of) for (p, source, cell), (sums, as_of) in effects.rates.items()]
