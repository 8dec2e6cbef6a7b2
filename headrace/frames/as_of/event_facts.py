"""Converts what was known of events to the facts that the predictor reads (services/predictor/data/events.py)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from headrace.backtest.archive_facts import ReportedFacts, event_of
from headrace.frames.as_of.known_facts import sessions_of, settled_of
from services.loader.as_of import KnownEvent
from services.loader.rows import latest_sessions
from services.predictor.data.events import EventFacts
from services.predictor.data.instants import microseconds_of
from services.predictor.data.profile import Profile


def event_facts(events: Sequence[KnownEvent], profile: Profile) -> Iterator[EventFacts]:
    """Equal to what services/predictor/storage/postgres_facts.py reads. All events of each session must be given."""
    sessions = latest_sessions(sessions_of(events))
    for event in events:
        reported: dict[str, Any] = {kind: fold.fact for kind, fold in event.facts.items()}
        facts = event_of(ReportedFacts(**reported), profile)
        if facts is not None:
            session = sessions[facts.session_key]
            yield facts._replace(
                status=event.status,
                session_title=session.title,
                grade=session.grade,
                amount=_trend_amount(event, profile),
                listed_us=_changed_us(event, "listed"),
                observed_us=_changed_us(event, "observed"),
                settled_us=_changed_us(event, "settled"),
            )


def _changed_us(event: KnownEvent, kind: str) -> float | None:
    return microseconds_of(event.facts[kind].changed_at) if kind in event.facts else None


def _trend_amount(event: KnownEvent, profile: Profile) -> float | None:
    """Of several first rows of the market, which only a correction can leave, that of the first selection."""
    fact = settled_of(event)
    rows = fact.transactions if fact else ()
    amounts = {row.selection: row.amount for row in rows if row.market == profile.trend_market and row.ordinal == 1}
    return amounts[min(amounts)] if amounts else None
