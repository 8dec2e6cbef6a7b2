"""Lists what each version of an event's facts changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from headrace.frames.catalogue import KINDS, Column, View
from services.loader.as_of import StoredVersion, known_event
from services.loader.fact_tree import FactEvent, tree_of
from services.loader.fold import FactVersion, FieldChange, FoldedFact, VersionChange, fold, tree_changes
from services.loader.rows import Row
from shared.events import Withdrawal

CHANGES = ("first", "correction", "update", "regression", "replay")

HISTORY = View(
    "history",
    "One row per value that a version of an event's facts states for the first time, changes or lacks.",
    (
        Column("event_key", "text", "Key of the event: source:date:venue:number."),
        Column("kind", "text", "Kind of the fact.", values=KINDS),
        Column("field", "text", "Name of the field; the fields of entries begin with the slot.", category=True),
        Column("previous", "text", "The value before.", none="the value was unknown"),
        Column("value", "text", "The value from this version on.", none="the version lacks it, or withdraws it"),
        Column(
            "change", "text",
            "`first`: the value was unknown. `correction`: it is another one. `update`: a provisional status became"
            " final, or a value that is derived from others changed. `regression`: the version lacks it, `previous`"
            " stays valid. `replay`: the same record was cleaned again, with another result.",
            values=CHANGES,
        ),
        Column("known_at", "timestamp with time zone", "When the version could be known."),
        Column("version", "integer", "Number of the version among those of its kind, in the order of arrival."),
        Column("record_id", "uuid", "Id of the record that stated it."),
        Column("revision", "text", "`0` for live records, else the operation that replayed the record.", category=True),
        Column("document", "text", "SHA-256 of the document that stated it: its name in the archive.", category=True),
    ),
    ("known_at", "kind", "version", "field"),
    is_stored=False,
)  # fmt: skip


def history_rows(event_key: str, stored: Sequence[StoredVersion]) -> list[Row]:
    """The rows of HISTORY, in the order in which the versions became known. `stored`: all versions of one event."""
    event = known_event(event_key, stored, None)
    if event is None:
        return []
    known = {each.record_id: each.known_at for versions in event.versions.values() for each in versions}
    rows: list[Row] = []
    numbers = {(each.record_id, each.revision, each.kind): each.number for each in stored}
    for kind, versions in event.versions.items():
        rows += _kind_rows(event_key, kind, versions, numbers)
    rows += _replayed_rows(event_key, stored, known)
    at = [HISTORY.names.index(name) for name in HISTORY.key]
    return sorted(rows, key=lambda row: [KINDS.index(row[index]) if index == at[1] else row[index] for index in at])


def _kind_rows(
    event_key: str, kind: str, versions: Sequence[FactVersion], numbers: Mapping[tuple[UUID, str, str], int]
) -> Iterator[Row]:
    """What each version changes in the fold of those known before it."""
    ordered = sorted(versions, key=lambda version: version.order)  # as the fold does
    before: FoldedFact | None = None
    for count, version in enumerate(ordered, start=1):
        after = fold(ordered[:count])
        number = numbers[version.record_id, version.revision, kind]
        for change, label in _changes(before, after):
            yield _row(event_key, version, number, change, label)
        before = after


def _changes(before: FoldedFact | None, after: FoldedFact) -> Iterator[tuple[FieldChange, str]]:
    """The changes of the last version, each with one of CHANGES."""
    none = frozenset[VersionChange]()
    corrections = {note.change for note in after.corrections - (before.corrections if before else none)}
    for change in tree_changes(tree_of(before.fact) if before else {}, tree_of(after.fact)):
        label = "correction" if change in corrections else "first" if change.old is None else "update"
        yield change, label
    for note in after.regressions - (before.regressions if before else none):
        yield note.change, "regression"


def _replayed_rows(event_key: str, stored: Iterable[StoredVersion], known: Mapping[UUID, datetime]) -> Iterator[Row]:
    """What a replay changed in a record that had been loaded before."""
    latest: dict[UUID, FactEvent] = {}
    for each in sorted(stored, key=lambda version: version.number):
        if isinstance(each.fact, Withdrawal):
            continue
        replaced = latest.get(each.record_id)
        if replaced is not None and each.record_id in known:
            version = FactVersion(known[each.record_id], each.revision, each.record_id, each.fact)
            for change in tree_changes(tree_of(replaced), tree_of(each.fact)):
                yield _row(event_key, version, each.number, change, "replay")
        latest[each.record_id] = each.fact


def _row(event_key: str, version: FactVersion, number: int, change: FieldChange, label: str) -> Row:
    return (
        event_key, version.fact.kind, change.field, change.old, change.new, label, version.known_at, number,
        str(version.record_id), version.revision, version.fact.document_hash,
    )  # fmt: skip
