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
class Said:
    """One event's facts, at most one of each kind: an archive holds only the last version."""

    listed: Listed | None = None
    observed: Observed | None = None
    settled: Settled | None = None

    def add(self, fact: Listed | Observed | Settled) -> None:
        setattr(self, fact.kind, fact)


def event_of(said: Said, profile: Profile) -> EventFacts | None:
    """The event's facts; None if it is on no card, because then it has no row either. Raises InvalidEvent if a fact's
    time is out of the calendar's range."""
    listed, observed, settled = said.listed, said.observed, said.settled
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
        conditions={} if observed is None else _known(dict(observed.conditions)),
        amount=None if settled is None else _amount(settled, profile),
    )


def with_postponed(events: Iterable[EventFacts], cards: Mapping[str, str]) -> Iterator[EventFacts]:
    """The events, with status `postponed` for cancelled ones whose line-up is on a card of the next days. `cards`: card
    key by event key."""
    found = list(events)
    days: dict[str, set[int]] = defaultdict(set)
    for event in found:
        if event.event_key in cards:
            days[cards[event.event_key]].add(event.day)
    for event in found:
        again = range(event.day + 1, event.day + POSTPONED_DAYS + 1)
        if event.status == "cancelled" and not days[cards.get(event.event_key, "")].isdisjoint(again):
            yield event._replace(status="postponed")
        else:
            yield event


def _entries(
    listed: Listed, observed: Observed | None, settled: Settled | None, profile: Profile
) -> tuple[EntryFacts, ...]:
    seen = {each.slot: each for each in observed.entries} if observed else {}
    ended = {each.slot: each for each in settled.outcomes} if settled else {}
    paid = _win_amounts(settled, profile) if settled else {}
    made = []
    for entry in sorted(listed.entries, key=lambda entry: entry.slot):
        look, end = seen.get(entry.slot), ended.get(entry.slot, Outcome(slot=entry.slot))
        made.append(
            EntryFacts(
                slot=entry.slot,
                entity=entry.entity.entity_key if entry.entity else None,
                measures=_known(entry.measures),
                categories=_known(entry.categories),
                observed_course=look.course if look else None,
                observed=_known(look.measures) if look else {},
                place=end.place,
                code=end.code,
                course=end.course,
                timing_s=end.start_timing_s,
                refunded=end.refunded,
                win_amount=paid.get(str(entry.slot)),
            )
        )
    return tuple(made)


def _win_amounts(settled: Settled, profile: Profile) -> dict[str, float]:
    return {paid.selection: paid.amount for paid in settled.transactions if paid.market == profile.win_market}


def _amount(settled: Settled, profile: Profile) -> float | None:
    rows = [paid for paid in settled.transactions if paid.market == profile.trend_market and paid.ordinal == 1]
    return rows[0].amount if rows else None


def _known(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
