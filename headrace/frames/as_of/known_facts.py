"""Groups stored versions by event and computes what was known of each event at an instant."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import Any, NamedTuple
from uuid import UUID

import zstandard

from services.loader.as_of import KnownEvent, StoredVersion, known_event
from services.loader.rows import SessionRow, session_row
from shared.events import STORED_VERSION, Listed, Settled

POSTPONED_DAYS = 3
"""A cancelled event is postponed if the same line-up is on a card of the next days, as in `analytics.events`."""

VERSION_COLUMNS = ("event_key", "kind", "version", "revision", "record_id", "body")
"""The columns of `analytics.versions` that are read."""


class LineUp(NamedTuple):
    """Who takes part in a listed event: `card_key` is equal for the same entries at the same venue and number."""

    source: str
    card_key: str
    date: date


def known_events(columns: Mapping[str, Sequence[Any]], instant: datetime | None) -> list[KnownEvent]:
    """The events that were listed at the instant, by event key. `columns`: those of VERSION_COLUMNS."""
    stored = stored_versions(columns)
    events = (known_event(event_key, versions, instant) for event_key, versions in sorted(stored.items()))
    return [event for event in events if event is not None]


def stored_versions(columns: Mapping[str, Sequence[Any]]) -> dict[str, list[StoredVersion]]:
    """The decoded versions of each event. `columns`: those of VERSION_COLUMNS."""
    decompress = zstandard.ZstdDecompressor().decompress
    stored: dict[str, list[StoredVersion]] = {}
    for event_key, kind, number, revision, record_id, body in zip(
        *(columns[name] for name in VERSION_COLUMNS), strict=True
    ):
        fact: Any = STORED_VERSION.validate_json(decompress(body))
        stored.setdefault(event_key, []).append(StoredVersion(kind, number, revision, UUID(str(record_id)), fact))
    return stored


def line_up_of(event: KnownEvent) -> LineUp | None:
    """None if the card does not identify its line-up."""
    fact = listed_of(event)
    return None if fact.card_key is None else LineUp(fact.source, fact.card_key, fact.session.date)


def listed_of(event: KnownEvent) -> Listed:
    fact = event.facts["listed"].fact
    assert isinstance(fact, Listed)  # noqa: S101  # a known event is listed
    return fact


def settled_of(event: KnownEvent) -> Settled | None:
    fact = event.facts["settled"].fact if "settled" in event.facts else None
    return fact if isinstance(fact, Settled) else None


def with_postponed(events: Iterable[KnownEvent], cards: Iterable[LineUp]) -> Iterator[KnownEvent]:
    """The events, with status `postponed` for cancelled ones whose line-up is on a card of the next days.

    `cards`: those of all events known at the instant, up to POSTPONED_DAYS after the last event.
    """
    days: dict[tuple[str, str], set[date]] = {}
    for card in cards:
        days.setdefault(card[:2], set()).add(card.date)
    for event in events:
        own = line_up_of(event) if event.status == "cancelled" else None
        is_postponed = own is not None and any(
            0 < (later - own.date).days <= POSTPONED_DAYS for later in days.get(own[:2], ())
        )
        yield event._replace(status="postponed") if is_postponed else event


def sessions_of(events: Iterable[KnownEvent]) -> list[SessionRow]:
    """The session of each event, in the order in which their cards became known."""
    ordered = sorted(events, key=lambda event: (event.facts["listed"].changed_at, event.event_key))
    return [session_row(listed_of(event)) for event in ordered]
