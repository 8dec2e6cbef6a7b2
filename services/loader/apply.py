"""Applies a batch of facts to the states of their events, in memory.

The result is the batch's `Effects` (services/loader/effects.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from functools import reduce
from uuid import UUID

import zstandard

from services.loader import returns
from services.loader.effects import Effects, EntityProfile, LoadedFact, ProfileKey
from services.loader.entity_info import DatedEntityInfo
from services.loader.fact_tree import FactEvent, leaves, tree_of
from services.loader.fold import FactVersion, FoldedFact, VersionChange, changed_fields, fold, supersede
from services.loader.rows import Row, event_columns, known_at_of, rows_of, session_row, status_with
from services.loader.schema import CORRECTIONS, ENTITY_MEASURES, REGRESSIONS, VERSIONS, Table
from services.loader.state import EventState
from shared.events import Listed, Settled, Withdrawal, day_of
from shared.records import DecodedRecord


class FactApplier:
    """Applies facts one by one to the states of their events, then computes the difference made by the batch."""

    def __init__(self, states: dict[str, EventState], as_of_limit: datetime | None = None) -> None:
        """`as_of_limit`: facts that became known later are left out."""
        self._states = states
        self._as_of_limit = as_of_limit
        # Level 1 compresses a fact of 2 KB in 9 us. Creating a compressor takes as long, so the batch shares one.
        self._compressor = zstandard.ZstdCompressor(level=1)
        self._folds_before: dict[tuple[str, str], FoldedFact | None] = {}
        self._folds_after: dict[tuple[str, str], FoldedFact | None] = {}  # None: withdrawn
        self._cards: dict[str, Listed] = {}
        self._stored: set[str] = set()  # events with a new version
        self.effects = Effects()

    def apply(self, received: DecodedRecord) -> None:
        """Every version is stored, even if it changes nothing: a version that arrives later may sort before it."""
        if isinstance(received.message, Withdrawal):
            self._withdraw(received, received.message)
            return
        fact: FactEvent = received.message
        state = self._states.setdefault(fact.event_key, EventState(fact.event_key))
        known_at = known_at_of(fact, state.scheduled_at)
        if self._as_of_limit is not None and self._is_beyond_limit(self._as_of_limit, state, fact, known_at):
            self.effects.withheld_count += 1
            return
        version = FactVersion(known_at, received.revision, received.event_id, fact)
        history = state.versions.get(fact.kind, ())
        versions = accept(history, version, state.withdrawn.get(fact.kind, {}))
        if versions is None:
            return
        before, after = self._refold(state, fact.kind, versions)
        if isinstance(fact, Listed):
            self._cards[state.event_key] = fact
            self._reschedule(state, after.fact.scheduled_at if after and isinstance(after.fact, Listed) else None)
            self._replace_profiles(history, version)
        self._publish(state, received, fact.kind, known_at, before, after)

    def finish(self) -> Effects:
        """Compute the changed rows, the events' columns and the changes to return rates. Call once, at the end."""
        for (event_key, kind), after in self._folds_after.items():
            before = self._folds_before[event_key, kind]
            some = after or before
            if some is None:  # a fact and its withdrawal
                continue
            self._diff_rows(before.fact if before else None, after.fact if after else None)
            if before or some.corrections or some.regressions:
                self._record_changes(before, after)
            self._set_event_columns(event_key, kind, after)
            day = day_of(event_key)
            self._add_returns(before.fact if before else None, after.fact if after else None, some.fact.source, day)
            if day is not None:
                self.effects.changed_days.add((some.fact.source, day))
        for event_key in self._stored:
            self._complete_columns(self._states[event_key])
        return self.effects

    def _withdraw(self, received: DecodedRecord, message: Withdrawal) -> None:
        """Remove the version of a record. The withdrawal is a version too: the record's fact may arrive after it."""
        state, kind = self._states.setdefault(message.event_key, EventState(message.event_key)), message.fact
        record_id, revision = received.event_id, received.revision
        history = state.versions.get(kind, ())
        own = next((version for version in history if version.record_id == record_id), None)
        newest = max(state.withdrawn.get(kind, {}).get(record_id, ""), own.revision if own else "")
        if newest > revision or (own is None and (newest == revision or self._as_of_limit is not None)):
            return
        rest = [version for version in history if version is not own]
        before, after = self._refold(state, kind, rest) if own else (None, None)
        state.withdraw(kind, record_id, revision)
        if kind == "listed" and own:
            self._reschedule(state, after.fact.scheduled_at if after and isinstance(after.fact, Listed) else None)
            self._replace_profiles([own], None)
        known_at = own.known_at if own else withdrawn_at(message.event_key, state.scheduled_at)
        self._publish(state, received, kind, known_at, before, after)

    def _publish(
        self, state: EventState, received: DecodedRecord, kind: str, known_at: datetime, before: FoldedFact | None,
        after: FoldedFact | None,
    ) -> None:  # fmt: skip
        """Store the version, and announce it if it changes the fold."""
        changed = changes_of(before, after)
        number = self._store_version(state, received, kind, known_at, is_published=changed is not None)
        if changed is not None:
            self.effects.loaded_facts.append(
                LoadedFact(received, known_at, number, state.status, state.scheduled_at, changed)
            )

    def _is_beyond_limit(self, as_of_limit: datetime, state: EventState, fact: FactEvent, known_at: datetime) -> bool:
        """Also true for a fact whose event is not listed within the limit: it would have no event row to refer to."""
        listed = isinstance(fact, Listed) or state.id is not None or bool(state.versions.get("listed"))
        return known_at > as_of_limit or not listed

    def _refold(
        self, state: EventState, kind: str, versions: list[FactVersion]
    ) -> tuple[FoldedFact | None, FoldedFact | None]:
        """Replace the versions of this kind of fact; returns the fold before (None if there was none) and after."""
        fold_key = (state.event_key, kind)
        before = self._fold_of(state, kind)
        self._folds_before.setdefault(fold_key, before)
        after = self._folds_after[fold_key] = fold(versions) if versions else None
        state.versions[kind] = versions
        if after:
            state.status = status_with(state.status, after.fact)
        else:
            folds = [self._fold_of(state, other) for other in ("observed", "settled")]
            state.status = reduce(status_with, (each.fact for each in folds if each), "listed")
        return before, after

    def _fold_of(self, state: EventState, kind: str) -> FoldedFact | None:
        fold_key = (state.event_key, kind)
        if fold_key in self._folds_after:
            return self._folds_after[fold_key]
        return fold(state.versions[kind]) if state.versions.get(kind) else None

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
        self, state: EventState, received: DecodedRecord, kind: str, known_at: datetime, is_published: bool
    ) -> int:
        """Returns the version's number. `is_published`: the same unit appends a record to loaded-events for it."""
        number = state.version_counts[kind] = state.version_counts.get(kind, 0) + 1
        state.version += 1
        self._stored.add(state.event_key)
        if number > 1:
            self.effects.revised.add(state.event_key)
        self.effects.new_rows[VERSIONS].append(
            (state.event_key, kind, number, known_at, received.revision, received.event_id,
             self._compressor.compress(received.record.value), is_published)
        )  # fmt: skip
        return number

    def _record_changes(self, before: FoldedFact | None, after: FoldedFact | None) -> None:
        """Write new corrections and regressions. A late version may also invalidate those of newer versions."""
        none = frozenset[VersionChange]()
        corrections, regressions = (before.corrections, before.regressions) if before else (none, none)
        new_corrections, new_regressions = (after.corrections, after.regressions) if after else (none, none)
        fact = (after or before).fact  # type: ignore[union-attr]  # one of them exists
        self.effects.regression_counts[fact.kind] += len(new_regressions - regressions)
        for table, old, new in (
            (CORRECTIONS, corrections, new_corrections),
            (REGRESSIONS, regressions, new_regressions),
        ):
            rows = [change_row(table, fact, note) for note in sorted(new - old)]
            self.effects.rows.setdefault(table, []).extend(rows)
            kept_keys = {(note.record_id, note.change.field) for note in new}
            for note in old - new:
                if (note.record_id, note.change.field) not in kept_keys:
                    self.effects.removed_rows[table].append(change_row(table, fact, note)[: len(table.key)])

    def _replace_profiles(self, history: Sequence[FactVersion], version: FactVersion | None) -> None:
        """Add the profiles of a card, and remove those of the version that it replaces. `version` None: withdrawn."""
        profiles, removed = self.effects.profiles, self.effects.removed_profiles
        for old in history:
            if version is None or old.record_id == version.record_id:
                gone = profiles_of(old).keys()
                removed.update(gone)
                for key in gone:
                    profiles.pop(key, None)
        if version is not None:
            stated = profiles_of(version)
            profiles |= stated
            removed.difference_update(stated)

    def _diff_rows(self, before: FactEvent | None, after: FactEvent | None) -> None:
        if before is None and after is not None:
            for table, row in rows_of(after):
                self.effects.new_rows[table].append(row)
            return
        old, new = set(rows_of(before) if before else ()), set(rows_of(after) if after else ())
        for table, row in sorted(new - old, key=lambda item: (item[0].name, item[1][:2])):
            self.effects.rows[table].append(row)
        kept_keys = {(table, row[: len(table.key)]) for table, row in new}
        for table, row in old - new:
            if (table, row[: len(table.key)]) not in kept_keys:
                self.effects.removed_rows[table].append(row[: len(table.key)])

    def _set_event_columns(self, event_key: str, kind: str, after: FoldedFact | None) -> None:
        columns = self.effects.events[event_key]
        if after is None:
            self.effects.cleared_kinds[kind].append(event_key)
            return
        if isinstance(after.fact, Listed):
            self.effects.sessions.append(session_row(after.fact))
        columns |= event_columns(after.fact, after.changed_at)

    def _complete_columns(self, state: EventState) -> None:
        columns = self.effects.events[state.event_key]
        columns |= {"status": state.status, "version": state.version}
        if state.id is None and "session" not in columns:  # listed and withdrawn in one batch
            card = self._cards[state.event_key]
            self.effects.sessions.append(session_row(card))
            columns |= {"session": card.session.session_key, "number": card.number}

    def _add_returns(self, before: FactEvent | None, after: FactEvent | None, source: str, day: date | None) -> None:
        old, new = (returns.contributions(fact if isinstance(fact, Settled) else None) for fact in (before, after))
        if old or new:
            returns.add(self.effects.rates[source], returns.difference(old, new), returns.rates_as_of(day))


def changes_of(before: FoldedFact | None, after: FoldedFact | None) -> tuple[str, ...] | None:
    """The fields that differ, empty for a first version; None if nothing changed."""
    if after is None:
        return None if before is None else tuple(sorted(name for name, _ in leaves(tree_of(before.fact))))
    return () if before is None else changed_fields(before.fact, after.fact)


def profiles_of(version: FactVersion) -> dict[ProfileKey, EntityProfile]:
    """What a card states about its entities."""
    assert isinstance(version.fact, Listed)  # noqa: S101  # callers pass cards
    source, known_at, record_id = version.fact.source, version.known_at, version.record_id
    return {
        (entry.entity.entity_key, known_at, record_id): EntityProfile(
            DatedEntityInfo(known_at, source, entry.entity, record_id),
            {name: value for name in ENTITY_MEASURES if (value := entry.measures.get(name)) is not None},
        )
        for entry in version.fact.entries
        if entry.entity is not None
    }


def withdrawn_at(event_key: str, scheduled_at: datetime | None) -> datetime:
    """The `known_at` of a withdrawal without a version to withdraw: no fact has it, so it only has to be a time."""
    return scheduled_at or returns.rates_as_of(day_of(event_key))


def accept(
    history: Sequence[FactVersion], version: FactVersion, withdrawn: Mapping[UUID, str] | None = None
) -> list[FactVersion] | None:
    """The versions of one kind of fact, in order of arrival, with a further one; None if it is not to be stored.

    `withdrawn`: the records that state no fact any more, with the revision that withdrew it.
    """
    if withdrawn and withdrawn.get(version.record_id, "") >= version.revision:
        return None
    if any(old.record_id == version.record_id and not replaces(version, old) for old in history):
        return None
    if not history and is_blank_result(version.fact):
        return None
    return supersede(history, version)


def replaces(version: FactVersion, old: FactVersion) -> bool:
    """Whether `version` replaces `old`, a version from the same record: another fact, and a newer revision.

    Of two facts of one revision, which only a changed cleaner makes, one is chosen by content: the order of
    arrival must not matter."""
    if version.fact == old.fact:
        return False
    if version.revision != old.revision:
        return version.revision > old.revision
    return version.fact.model_dump_json() > old.fact.model_dump_json()


def is_blank_result(fact: FactEvent) -> bool:
    """Whether the fact is an empty provisional result. It only matters if the event had a result before."""
    return isinstance(fact, Settled) and fact.status == "provisional" and not (fact.outcomes or fact.transactions)


def change_row(table: Table, fact: FactEvent, note: VersionChange) -> Row:
    """A row of facts.corrections or facts.regressions."""
    values = (note.change.old, note.change.new) if table is CORRECTIONS else (note.change.old,)
    return (fact.event_key, fact.kind, note.record_id, note.change.field, *values, note.known_at)
