"""Reads what planning needs from the events of a document: whether they have values, when they start, which are settled."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import msgspec

EMPTY_VALUES = {b"null", b"[]", b"{}", b'""'}


class PlanningKeys(msgspec.Struct, frozen=True):
    """The keys of the events of one feed that planning reads. `values` is empty and the others are None if they are not
    declared for the feed."""

    values: tuple[str, ...] = ()
    start: str | None = None
    settled: str | None = None

    def all(self) -> list[str]:
        named = [key for key in (self.start, self.settled) if key is not None]
        return list(dict.fromkeys((*self.values, *named)))


def has_value(raw: bytes | None) -> bool:
    """Whether the JSON text of a value is neither null nor empty. None: the event does not have the key."""
    return raw is not None and b"".join(raw.split()) not in EMPTY_VALUES


def has_values(fields: Mapping[str, bytes | None], keys: Collection[str]) -> bool:
    return any(has_value(fields.get(key)) for key in keys)


def start_of(raw: bytes | None, zone: ZoneInfo) -> int | None:
    """The start of an event in Unix seconds; None if it is missing or not a time."""
    try:
        text = msgspec.json.decode(raw, type=str) if raw is not None else ""
        at = datetime.fromisoformat(text)
        return round((at if at.tzinfo else at.replace(tzinfo=zone)).astimezone(UTC).timestamp())
    except (msgspec.DecodeError, ValueError, OverflowError):
        return None
