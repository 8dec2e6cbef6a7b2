"""Converts the cleaner's facts about one event into the facts that a prediction is based on.

The result equals what the loader's tables and views (services/loader/apply.py, `analytics.events`) hold of the same
facts, including times and status.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from services.loader.rows import known_at_of, status_of
from services.predictor.data.events import EntryFacts, EventFacts
from services.predictor.data.instants import day_number, microseconds_of
from services.predictor.data.profile import Profile
from shared.events import Listed, Observed, Outcome, Settled

# A cancelled event counts as postponed if the same line-up is on a card within this many days.
POSTPONED_DAYS = 3


@dataclass
class ReportedFacts:
    """One event's facts, at most one of each kind: an archive holds only the last version."""

    listed: Listed | None = None
    observed: Observed | None = None
    settled: Settled | None = None

    def add(self, fact: Listed | Observed | Settled) -> None:
        setattr(self, fact.kind, fact)


def event_of(facts: ReportedFacts, profile: Profile) -> EventFacts | None:
    """The event's facts; None if it is on no card, because then it has no row either. Raises InvalidEvent if a fact's
    time is out of the calendar's range."""
    listed, observed, settled = facts.listed, facts.observed, facts.settled
    if listed is None:
        return None
    session = listed.session
    return EventFacts(
        event_key=listed.event_key,
        session_key=session.session_key,
        day=day_number(session.date),
        venue=session.venue,
        number=listed.number,
        status=status_of(settled or observed or listed),
        entries=_entries(listed, observed, settled, profile),
        title=listed.title,
        session_title=session.title,
        grade=session.grade,
        distance_m=listed.distance_m,
        scheduled_us=None if listed.scheduled_at is None else microseconds_of(listed.scheduled_at),
        listed_us=microseconds_of(known_at_of(listed, listed.scheduled_at)),
        observed_us=None if observed is None else microseconds_of(known_at_of(observed, listed.scheduled_at)),
        settled_us=None if settled is None else microseconds_of(known_at_of(settled, listed.scheduled_at)),
        technique=None if settled is None else settled.technique,
        conditions={} if observed is None else _without_none(dict(observed.conditions)),
        amount=None if settled is None else _trend_amount(settled, profile),
    )


def mark_postponed(events: Iterable[EventFacts], cards: Mapping[str, str]) -> Iterator[EventFacts]:
    """The events, with status `postponed` for cancelled ones whose line-up is on a card of the next days. `cards`: card
    key by event key."""
    all_events = list(events)
    days: dict[str, set[int]] = defaultdict(set)
    for event in all_events:
        if event.event_key in cards:
            days[cards[event.event_key]].add(event.day)
    for event in all_events:
        following_days = range(event.day + 1, event.day + POSTPONED_DAYS + 1)
        if event.status == "cancelled" and not days[cards.get(event.event_key, "")].isdisjoint(following_days):
            yield event._replace(status="postponed")
        else:
            yield event


def _entries(
    listed: Listed, observed: Observed | None, settled: Settled | None, profile: Profile
) -> tuple[EntryFacts, ...]:
    observations = {each.slot: each for each in observed.entries} if observed else {}
    outcomes = {each.slot: each for each in settled.outcomes} if settled else {}
    win_amounts = _win_amounts(settled, profile) if settled else {}
    entries = []
    for entry in sorted(listed.entries, key=lambda entry: entry.slot):
        observation, outcome = observations.get(entry.slot), outcomes.get(entry.slot, Outcome(slot=entry.slot))
        entries.append(
            EntryFacts(
                slot=entry.slot,
                entity=entry.entity.entity_key if entry.entity else None,
                measures=_without_none(entry.measures),
                categories=_without_none(entry.categories),
                observed_course=observation.course if observation else None,
                observed=_without_none(observation.measures) if observation else {},
                place=outcome.place,
                code=outcome.code,
                course=outcome.course,
                timing_s=outcome.start_timing_s,
                refunded=outcome.refunded,
                win_amount=win_amounts.get(str(entry.slot)),
            )
        )
    return tuple(entries)


def _win_amounts(settled: Settled, profile: Profile) -> dict[str, float]:
    return {
        transaction.selection: transaction.amount
        for transaction in settled.transactions
        if transaction.market == profile.win_market
    }


def _trend_amount(settled: Settled, profile: Profile) -> float | None:
    rows = [
        transaction
        for transaction in settled.transactions
        if transaction.market == profile.trend_market and transaction.ordinal == 1
    ]
    return rows[0].amount if rows else None


def _without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
