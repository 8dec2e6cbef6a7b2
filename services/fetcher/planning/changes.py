"""Computes how two documents of one window differ: which events, and which fields of them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec

from services.fetcher.planning.cursor import DocumentChange, EventDifference
from services.fetcher.planning.windows import Window

# A change is stored in the window's cursor. These bounds keep it below some 10 KB.
MAX_EVENTS, MAX_FIELDS, MAX_FIELD_CHARS = 20, 10, 80
# The recent changes are a part of the fetcher's status, which each heartbeat stores: at most some 5 KB.
MAX_RECENT, MAX_RECENT_LINES, MAX_LINE_CHARS = 10, 3, 160
# After this time a change is listed only by `headrace windows changes`, and its alert ends (services/notifier/alerts).
RECENT = timedelta(hours=24)

Events = Mapping[str, bytes]
"""The JSON text of each event by its key."""


def document_change(at: datetime, before: tuple[str, Events], after: tuple[str, Events]) -> DocumentChange:
    """`before` and `after`: the hash of each document, and its events."""
    (old_hash, old), (new_hash, new) = before, after
    changes = [
        _event_change(key, old.get(key), new.get(key)) for key in sorted({*old, *new}) if old.get(key) != new.get(key)
    ]
    return DocumentChange(at, old_hash, new_hash, tuple(changes[:MAX_EVENTS]), len(changes))


def change_text(change: DocumentChange) -> str:
    """In one line: 3 events: boatrace:2026-01-31:07:04 changed (boats.1.racer_place_number), ..."""
    if not change.total:
        return "no event differs"
    named = ", ".join(map(_difference_text, change.events[:3]))
    return f"{change.total} events: {named}" + (", ..." if change.total > 3 else "")


def recent_changes(changes: Mapping[Window, DocumentChange], source: str, now: datetime) -> list[dict[str, Any]]:
    """The newest changes of the last RECENT as JSON, the newest first. `lines` describe the first differences."""
    recent = [(window, change) for window, change in changes.items() if change.at > now - RECENT]
    recent.sort(key=lambda item: (item[1].at, item[0]), reverse=True)
    return [
        {
            "window": window.key(source),
            "at": change.at.isoformat(),
            "events": change.total,
            "lines": [_difference_text(each)[:MAX_LINE_CHARS] for each in change.events[:MAX_RECENT_LINES]],
        }
        for window, change in recent[:MAX_RECENT]
    ]


def _difference_text(difference: EventDifference) -> str:
    """boatrace:2026-01-31:07:04 changed (boats.1.racer_place_number)"""
    fields = f" ({', '.join(difference.fields)})" if difference.fields else ""
    return f"{difference.event} {difference.kind}{fields}"


def _event_change(key: str, old: bytes | None, new: bytes | None) -> EventDifference:
    if old is None or new is None:
        return EventDifference(key, "added" if old is None else "removed")
    try:
        fields = sorted(_differences(msgspec.json.decode(old), msgspec.json.decode(new), ""))
    except (msgspec.DecodeError, RecursionError):
        fields = []
    named = [field[:MAX_FIELD_CHARS] for field in fields[:MAX_FIELDS]]
    return EventDifference(key, "changed", (*named, "...") if len(fields) > MAX_FIELDS else tuple(named))


def _differences(old: Any, new: Any, path: str) -> set[str]:
    """The paths of the values that differ; positions in arrays count from 0."""
    if old == new:
        return set()
    if isinstance(old, list) and isinstance(new, list):
        old, new = dict(enumerate(old)), dict(enumerate(new))
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return {path}
    keys = [key for key in {**old, **new} if key not in old or key not in new or old[key] != new[key]]
    return {
        each
        for key in keys
        for each in (
            _differences(old[key], new[key], _join(path, key)) if key in old and key in new else {_join(path, key)}
        )
    }


def _join(path: str, key: object) -> str:
    return f"{path}.{key}" if path else str(key)
