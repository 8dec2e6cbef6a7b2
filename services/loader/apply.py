"""Applies a batch of facts to the states of their events, in memory.

The result (`Effects`) is the rows to write, the rows to delete and the records to append to loaded-events.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

import zstandard

from services.loader import returns
from services.loader.entity_info import DatedEntityInfo, merge
from services.loader.fact_tree import FactEvent
from services.loader.fold import FactVersion, FoldedFact, VersionChange, changed_fields, fold, supersede
from services.loader.rows import (
    Row,
    SessionRow,
    event_columns,
    known_at_of,
    known_json,
    rows_of,
    session_row,
    status_with,
)
from services.loader.schema import CORRECTIONS, FACT_TABLES, REGRESSIONS, VERSIONS, Table
from services.loader.state import EventState
from shared.events import Listed, Settled, day_of
from shared.records import DecodedRecord


@dataclass
class LoadedFact:
    """The content of a record of loaded-events, except the id of the event's row, which is resolved later."""

    received: DecodedRecord
    known_at: datetime
    version: int
    status: str
    scheduled_at: datetime | None
    changed: tuple[str, ...]


@dataclass
class Effects:
    """All changes of one batch to the tables, in memory."""

    # Rows of facts without an earlier version, and all versions: none of them should exist yet.
    new_rows: dict[Table, list[Row]] = field(default_factory=lambda: {table: [] for table in (*FACT_TABLES, VERSIONS)})
    rows: dict[Table, list[Row]] = field(default_factory=lambda: {table: [] for table in FACT_TABLES})
    removed_rows: dict[Table, list[Row]] = field(default_factory=lambda: defaultdict(list))
    sessions: list[SessionRow] = field(default_factory=list)
    events: dict[str, dict[str, Any]] = field(default_factory=lambda: defaultdict(dict))
    entities: dict[str, DatedEntityInfo] = field(default_factory=dict)
    rates: dict[str, dict[returns.Cell, list[Any]]] = field(default_factory=lambda: defaultdict(dict))  # see rate_rows
    changed_days: set[tuple[str, date]] = field(default_factory=set)
    loaded_facts: list[LoadedFact] = field(default_factory=list)
    regression_counts: Counter[str] = field(default_factory=Counter)  # by kind of fact
    withheld_count: int = 0  # facts that became known after the as-of limit


class FactApplier:
    """Applies facts one by one to the states of their events, then computes the difference made by the batch."""

    def __init__(self, states: dict[str, EventState], as_of_limit: datetime | None = None) -> None:
        """`as_of_limit`: facts that became known later are left out."""
        self._states = states
        self._as_of_limit = as_of_limit
        # Level 1 compresses a fact of 2 KB in 9 us. Creating a compressor takes as long, so the batch shares one.
        self._compressor = zstandard.ZstdCompressor(level=1)
        self._folds_before: dict[tuple[str, str], FoldedFact | None] = {}
        self._folds_after: dict[tuple[str, str], FoldedFact] = {}
        self.effects = Effects()

    def apply(self, received: DecodedRecord) -> None:
        """Every version is stored, even if it changes nothing: a version that arrives later may sort before it."""
        fact: FactEvent = received.message
        state = self._states.setdefault(fact.event_key, EventState(fact.event_key))
        scheduled_at = fact.scheduled_at if isinstance(fact, Listed) else None
        known_at = known_at_of(fact, scheduled_at or state.scheduled_at)
        if self._as_of_limit is not None and self._is_beyond_limit(self._as_of_limit, state, fact, known_at):
            self.effects.withheld_count += 1
            return
        version = FactVersion(known_at, received.revision, received.event_id, fact)
        versions = accept(state.versions.get(fact.kind, ()), version)
        if versions is None:
            return
        before, after = self._refold(state, fact.kind, versions)
        if isinstance(fact, Listed) and isinstance(after.fact, Listed):
            self._reschedule(state, after.fact.scheduled_at)
            self._collect_entities(fact, known_at)
        changed = () if before is None else changed_fields(before.fact, after.fact)
        number = self._store_version(state, version, received, is_published=changed is not None)
        if changed is not None:
            self.effects.loaded_facts.append(
                LoadedFact(received, known_at, number, state.status, state.scheduled_at, changed)
            )

    def finish(self) -> Effects:
        """Compute the changed rows, the events' columns and the changes to return rates. Call once, at the end."""
        for (event_key, kind), after in self._folds_after.items():
            before = self._folds_before[event_key, kind]
            self._diff_rows(before.fact if before else None, after.fact)
            if before or after.corrections or after.regressions:
                self._record_changes(before, after)
            self._set_event_columns(self._states[event_key], after.fact, after.changed_at)
            day = day_of(event_key)
            if isinstance(after.fact, Settled):
                self._add_returns(before.fact if before else None, after.fact, day)
            if day is not None:
                self.effects.changed_days.add((after.fact.source, day))
        return self.effects

    def _is_beyond_limit(self, as_of_limit: datetime, state: EventState, fact: FactEvent, known_at: datetime) -> bool:
        """Also true for a fact whose event is not listed within the limit: it would have no event row to refer to."""
        listed = isinstance(fact, Listed) or state.id is not None or bool(state.versions.get("listed"))
        return known_at > as_of_limit or not listed

    def _refold(
        self, state: EventState, kind: str, versions: list[FactVersion]
    ) -> tuple[FoldedFact | None, FoldedFact]:
        """Replace the versions of this kind of fact; returns the fold before (None if there was none) and after."""
        fold_key = (state.event_key, kind)
        before = self._folds_after.get(fold_key)
        if before is None and state.versions.get(kind):
            before = fold(state.versions[kind])
        self._folds_before.setdefault(fold_key, before)
        after = self._folds_after[fold_key] = fold(versions)
        state.versions[kind] = versions
        state.status = status_with(state.status, after.fact)
        return before, after

    def _reschedule(self, state: EventState, scheduled_at: datetime | None) -> None:
        """Set the schedule. Versions whose fact has no `known_at` are dated by the schedule, so they get a new date."""
        if scheduled_at == state.scheduled_at:
            return
        state.scheduled_at = scheduled_at
        for kind, versions in list(state.versions.items()):
            if kind != "listed" and any(version.fact.known_at is None for version in versions):
                redated = [version._replace(known_at=known_at_of(version.fact, scheduled_at)) for version in versions]
                self._refold(state, kind, redated)

    def _store_version(
        self, state: EventState, version: FactVersion, received: DecodedRecord, is_published: bool
    ) -> int:
        """Returns the version's number. `is_published`: the same unit appends a record to loaded-events for it."""
        kind = version.fact.kind
        number = state.version_counts[kind] = state.version_counts.get(kind, 0) + 1
        state.version += 1
        self.effects.new_rows[VERSIONS].append(
            (state.event_key, kind, number, version.known_at, version.revision, version.record_id,
             self._compressor.compress(received.record.value), is_published)
        )  # fmt: skip
        return number

    def _record_changes(self, before: FoldedFact | None, after: FoldedFact) -> None:
        """Write new corrections and regressions. A late version may also invalidate those of newer versions."""
        fact, none = after.fact, frozenset[VersionChange]()
        self.effects.regression_counts[fact.kind] += len(after.regressions - (before.regressions if before else none))
        for table, old, new in (
            (CORRECTIONS, before.corrections if before else none, after.corrections),
            (REGRESSIONS, before.regressions if before else none, after.regressions),
        ):
            rows = [change_row(table, fact, note) for note in sorted(new - old)]
            self.effects.rows.setdefault(table, []).extend(rows)
            kept_keys = {(note.record_id, note.change.field) for note in new}
            for note in old - new:
                if (note.record_id, note.change.field) not in kept_keys:
                    self.effects.removed_rows[table].append(change_row(table, fact, note)[: len(table.key)])

    def _collect_entities(self, fact: Listed, known_at: datetime) -> None:
        for entry in fact.entries:
            if entry.entity is not None:
                current = DatedEntityInfo(known_at, fact.source, entry.entity)
                previous = self.effects.entities.get(entry.entity.entity_key)
                self.effects.entities[entry.entity.entity_key] = merge(previous, current) if previous else current

    def _diff_rows(self, before: FactEvent | None, after: FactEvent) -> None:
        if before is None:
            for table, row in rows_of(after):
                self.effects.new_rows[table].append(row)
            return
        old, new = set(rows_of(before)), set(rows_of(after))
        for table, row in sorted(new - old, key=lambda item: (item[0].name, item[1][:2])):
            self.effects.rows[table].append(row)
        kept_keys = {(table, row[: len(table.key)]) for table, row in new}
        for table, row in old - new:
            if (table, row[: len(table.key)]) not in kept_keys:
                self.effects.removed_rows[table].append(row[: len(table.key)])

    def _set_event_columns(self, state: EventState, after: FactEvent, known_at: datetime) -> None:
        columns = self.effects.events[state.event_key]
        columns |= {"status": state.status, "version": state.version}
        if isinstance(after, Listed):
            self.effects.sessions.append(session_row(after))
        columns |= event_columns(after, known_at)

    def _add_returns(self, before: FactEvent | None, after: Settled, day: date | None) -> None:
        contributions_before = returns.contributions(before if isinstance(before, Settled) else None)
        returns.add(
            self.effects.rates[after.source],
            returns.difference(contributions_before, returns.contributions(after)),
            returns.rates_as_of(day),
        )


def accept(history: Sequence[FactVersion], version: FactVersion) -> list[FactVersion] | None:
    """The versions of one kind of fact, in order of arrival, with a further one; None if it is not to be stored."""
    if any(old.record_id == version.record_id and not replaces(version, old) for old in history):
        return None
    if not history and is_blank_result(version.fact):
        return None
    return supersede(history, version)


def replaces(version: FactVersion, old: FactVersion) -> bool:
    """Whether `version` replaces `old`, a version from the same record: another fact, and no older revision."""
    return version.revision >= old.revision and version.fact != old.fact


def is_blank_result(fact: FactEvent) -> bool:
    """Whether the fact is an empty provisional result. It only matters if the event had a result before."""
    return isinstance(fact, Settled) and fact.status == "provisional" and not (fact.outcomes or fact.transactions)


def entity_rows(effects: Effects) -> list[Row]:
    """Rows for facts.entities, with the source's name in place of its id."""
    return [
        (key, source, info.name, known_json(info.categories.items()) or "{}", known_at)
        for key, (known_at, source, info) in effects.entities.items()
    ]


def change_row(table: Table, fact: FactEvent, note: VersionChange) -> Row:
    """A row of facts.corrections or facts.regressions."""
    values = (note.change.old, note.change.new) if table is CORRECTIONS else (note.change.old,)
    return (fact.event_key, fact.kind, note.record_id, note.change.field, *values, note.known_at)


def rate_rows(effects: Effects, slot: str) -> list[Row]:
    """Rows for facts.return_rates: per cell (scope, key, market) what to add to the totals of this loader's slot.

    Each slot has rows of its own, so that loaders do not wait for each other; the totals of all slots are summed.
    """
    return [(slot, source, *cell, *sums) for source, cells in effects.rates.items() for cell, sums in cells.items()]
