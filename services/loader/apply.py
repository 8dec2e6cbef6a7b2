"""Applies a batch of facts to the known state: rows to write, rows to delete, loaded events to append."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from typing import Any

import zstandard

from services.loader import returns
from services.loader.entity_info import Sighting, met_again
from services.loader.fact_tree import FactEvent
from services.loader.fold import Folded, Note, Version, changed_fields, fold, supersede
from services.loader.rows import Row, SessionRow, known_at_of, known_text, rows_of, status_of
from services.loader.schema import CORRECTIONS, FACT_TABLES, REGRESSIONS, VERSIONS, Table
from services.loader.state import EventState
from shared.events import Listed, Observed, Settled, day_of
from shared.records import Received


@dataclass
class Told:
    """What a loaded event will hold, except the id of the event's row, which is resolved later."""

    received: Received
    known_at: datetime
    version: int
    status: str
    scheduled_at: datetime | None
    changed: tuple[str, ...]


@dataclass
class Effects:
    """All changes of one batch to the tables, in memory."""

    rows: dict[Table, list[Row]] = field(default_factory=lambda: {table: [] for table in FACT_TABLES})
    removed: dict[Table, list[Row]] = field(default_factory=lambda: defaultdict(list))
    sessions: list[SessionRow] = field(default_factory=list)
    events: dict[str, dict[str, Any]] = field(default_factory=lambda: defaultdict(dict))
    entities: dict[str, Sighting] = field(default_factory=dict)
    rates: dict[str, dict[returns.Cell, list[Any]]] = field(default_factory=lambda: defaultdict(dict))  # see rate_rows
    days: set[tuple[str, date]] = field(default_factory=set)
    told: list[Told] = field(default_factory=list)
    regressed: Counter[str] = field(default_factory=Counter)  # by kind of fact
    withheld: int = 0  # facts that became known after the as-of limit


class Application:
    """Applies facts one by one to the states of their events, then computes the difference made by the batch."""

    def __init__(self, states: dict[str, EventState], horizon: datetime | None = None) -> None:
        """`as_of_limit`: facts that became known later are left out."""
        self._states = states
        self._horizon = horizon
        # Level 1 compresses a fact of 2 KB in 9 us. Creating a compressor takes as long, so the batch shares one.
        self._compressor = zstandard.ZstdCompressor(level=1)
        self._before: dict[tuple[str, str], Folded | None] = {}
        self._after: dict[tuple[str, str], Folded] = {}
        self.effects = Effects()

    def apply(self, received: Received) -> None:
        """Every version is stored, even if it changes nothing: a version that arrives later may sort before it."""
        fact: FactEvent = received.message
        state = self._states.setdefault(fact.event_key, EventState(fact.event_key))
        scheduled_at = fact.scheduled_at if isinstance(fact, Listed) else None
        known_at = known_at_of(fact, scheduled_at or state.scheduled_at)
        if self._horizon is not None and self._is_beyond(self._horizon, state, fact, known_at):
            self.effects.withheld += 1
            return
        version = Version(known_at, received.revision, received.event_id, fact)
        history = state.versions.get(fact.kind, [])
        if any(old.record_id == version.record_id and not replaces(version, old) for old in history):
            return
        if not history and says_nothing(fact):
            return
        before, after = self._stand(state, fact.kind, supersede(history, version))
        if isinstance(fact, Listed) and isinstance(after.fact, Listed):
            self._schedule(state, after.fact.scheduled_at)
            self._meet(fact, known_at)
        changed = () if before is None else changed_fields(before.fact, after.fact)
        number = self._store(state, version, received, told=changed is not None)
        if changed is not None:
            self.effects.told.append(Told(received, known_at, number, state.status, state.scheduled_at, changed))

    def finish(self) -> Effects:
        """Compute the changed rows, the events' columns and the changes to return rates. Call once, at the end."""
        for (event_key, kind), after in self._after.items():
            before = self._before[event_key, kind]
            self._difference(before.fact if before else None, after.fact)
            if before or after.corrected or after.regressed:
                self._notes(before, after)
            self._columns(self._states[event_key], after.fact, after.changed_at)
            day = day_of(event_key)
            if isinstance(after.fact, Settled):
                self._returns(before.fact if before else None, after.fact, day)
            if day is not None:
                self.effects.days.add((after.fact.source, day))
        return self.effects

    def _is_beyond(self, horizon: datetime, state: EventState, fact: FactEvent, known_at: datetime) -> bool:
        """Also true for a fact whose event is not listed within the limit: it would have no event row to refer to."""
        listed = isinstance(fact, Listed) or state.id is not None or bool(state.versions.get("listed"))
        return known_at > horizon or not listed

    def _stand(self, state: EventState, kind: str, versions: list[Version]) -> tuple[Folded | None, Folded]:
        """Replace the versions of this kind of fact; returns the fold before (None if there was none) and after."""
        place = (state.event_key, kind)
        before = self._after.get(place)
        if before is None and state.versions.get(kind):
            before = fold(state.versions[kind])
        self._before.setdefault(place, before)
        after = self._after[place] = fold(versions)
        state.versions[kind] = versions
        if kind == "settled" or (kind == "observed" and state.status == "listed"):
            state.status = status_of(after.fact)
        return before, after

    def _schedule(self, state: EventState, scheduled_at: datetime | None) -> None:
        """Set the schedule. Versions whose fact has no `known_at` are dated by the schedule, so they get a new date."""
        if scheduled_at == state.scheduled_at:
            return
        state.scheduled_at = scheduled_at
        for kind, versions in list(state.versions.items()):
            if kind != "listed" and any(version.fact.known_at is None for version in versions):
                moved = [version._replace(known_at=known_at_of(version.fact, scheduled_at)) for version in versions]
                self._stand(state, kind, moved)

    def _store(self, state: EventState, version: Version, received: Received, told: bool) -> int:
        """Returns the version's number. `is_published`: a loaded event for it is appended in the same unit."""
        kind = version.fact.kind
        number = state.stored[kind] = state.stored.get(kind, 0) + 1
        state.version += 1
        self.effects.rows.setdefault(VERSIONS, []).append(
            (state.event_key, kind, number, version.known_at, version.revision, version.record_id,
             self._compressor.compress(received.record.value), told)
        )  # fmt: skip
        return number

    def _notes(self, before: Folded | None, after: Folded) -> None:
        """Write new corrections and regressions. A late version may also invalidate those of newer versions."""
        fact, none = after.fact, frozenset[Note]()
        self.effects.regressed[fact.kind] += len(after.regressed - (before.regressed if before else none))
        for table, old, new in (
            (CORRECTIONS, before.corrected if before else none, after.corrected),
            (REGRESSIONS, before.regressed if before else none, after.regressed),
        ):
            rows = [_note_row(table, fact, note) for note in sorted(new - old)]
            self.effects.rows.setdefault(table, []).extend(rows)
            kept = {(note.record_id, note.change.field) for note in new}
            for note in old - new:
                if (note.record_id, note.change.field) not in kept:
                    self.effects.removed[table].append(_note_row(table, fact, note)[: len(table.key)])

    def _meet(self, fact: Listed, known_at: datetime) -> None:
        for entry in fact.entries:
            if entry.entity is not None:
                sighting = Sighting(known_at, fact.source, entry.entity)
                met = self.effects.entities.get(entry.entity.entity_key)
                self.effects.entities[entry.entity.entity_key] = met_again(met, sighting) if met else sighting

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
                "session": session.session_key,
                "number": after.number,
                "scheduled_at": after.scheduled_at,
                "title": after.title,
                "distance_m": after.distance_m,
                "card_key": after.card_key,
                "listed_at": known_at,
            }
        elif isinstance(after, Observed):
            columns |= {"observed_conditions": known_text(after.conditions), "observed_at": known_at}
        else:
            columns |= {
                "technique": after.technique,
                "conditions": known_text(after.conditions),
                "missing_markets": list(after.missing_markets) or None,
                "settled_at": known_at,
            }

    def _returns(self, before: FactEvent | None, after: Settled, day: date | None) -> None:
        """The rates' as_of is midnight UTC of the newest counted day, not the schedule, which may change later."""
        as_of = datetime.combine(day or date.min, time(), UTC)
        was = returns.contributions(before if isinstance(before, Settled) else None)
        cells = self.effects.rates[after.source]
        for cell, (bets, staked, returned) in returns.difference(was, returns.contributions(after)).items():
            so_far = cells.get(cell)
            if so_far is None:
                cells[cell] = [bets, staked, returned, as_of]
            else:  # updated in place: an event has about forty cells
                so_far[0] += bets
                so_far[1] += staked
                so_far[2] += returned
                so_far[3] = max(so_far[3], as_of)


def replaces(version: Version, old: Version) -> bool:
    """Whether `version`, of the same record as `old`, differs from it and is not older than its revision."""
    return version.revision >= old.revision and version.fact != old.fact


def says_nothing(fact: FactEvent) -> bool:
    """Whether the fact is an empty provisional result. It only matters if the event had a result before."""
    return isinstance(fact, Settled) and fact.status == "provisional" and not (fact.outcomes or fact.transactions)


def entity_rows(effects: Effects) -> list[Row]:
    """Rows for facts.entities, with the source's name in place of its id."""
    return [
        (key, source, info.name, known_text(info.categories.items()) or "{}", known_at)
        for key, (known_at, source, info) in effects.entities.items()
    ]


def _note_row(table: Table, fact: FactEvent, note: Note) -> Row:
    values = (note.change.old, note.change.new) if table is CORRECTIONS else (note.change.old,)
    return (fact.event_key, fact.kind, note.record_id, note.change.field, *values, note.known_at)


def rate_rows(effects: Effects, slot: str) -> list[Row]:
    """Rows for facts.return_rates: per cell the bets, staked, returned and as_of to add to the slot's totals."""
    return [(slot, source, *cell, *sums) for source, cells in effects.rates.items() for cell, sums in cells.items()]
