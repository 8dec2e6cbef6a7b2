"""Rows of the analytics views, computed from the events known at an instant, in the views' column order.

The rows of facts come from the loader's own functions (services/loader/rows.py, returns.py, entity_info.py). What a
view computes in SQL (a session's status, a rate, a score) is computed here in the same way.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from headrace.frames.as_of.known_facts import listed_of, sessions_of, settled_of
from services.loader import returns
from services.loader.apply import change_row
from services.loader.as_of import KnownEvent
from services.loader.entity_info import DatedEntityInfo, merge
from services.loader.rows import Row, event_columns, known_json, latest_sessions, rows_of
from services.loader.schema import CORRECTIONS, ENTRIES, OBSERVATIONS, OUTCOMES, REGRESSIONS, TRANSACTIONS, Table
from shared.events import Listed, Outcome, Settled, day_of

KINDS = {
    "sessions": ("listed", "observed", "settled"),
    "events": ("listed", "observed", "settled"),
    "entries": ("listed",),
    "observations": ("listed", "observed"),
    "outcomes": ("listed", "settled"),
    "transactions": ("listed", "settled"),
    "corrections": ("listed", "observed", "settled"),
    "regressions": ("listed", "observed", "settled"),
    "results": ("listed", "settled"),
}
"""The kinds of facts from which a view is computed. Every view needs the card: without it, an event has no row."""

VenueNames = Mapping[tuple[str, str], str | None]
"""By source and code."""

_EVENT_COLUMNS = (
    "title", "distance_m", "technique", "conditions", "observed_conditions", "missing_markets", "listed_at",
    "observed_at", "settled_at",
)  # fmt: skip
# A logarithm of less would be infinite; as in analytics.prediction_scores.
MIN_PROBABILITY = 1e-15


def rows_of_view(
    view: str, events: Sequence[KnownEvent], venue_names: Mapping[tuple[str, str], str | None]
) -> list[Row]:
    """The rows of a view in KINDS. `venue_names`: by source and code."""
    if view == "sessions":
        return session_rows(events, venue_names)
    return [row for event in events for row in _ROWS[view](event)]


def session_rows(events: Sequence[KnownEvent], venue_names: VenueNames) -> list[Row]:
    """All events of each session must be given."""
    statuses: dict[str, list[str]] = defaultdict(list)
    for event in events:
        statuses[listed_of(event).session.session_key].append(event.status)
    return [
        (
            row.session_key, row.source, row.date, row.venue, row.title, _session_status(statuses[row.session_key]),
            venue_names.get((row.source, str(row.venue))), row.grade,
        )
        for _, row in sorted(latest_sessions(sessions_of(events)).items())
    ]  # fmt: skip


def entity_rows(known: Mapping[str, DatedEntityInfo]) -> list[Row]:
    """Rows of `analytics.entities`. `known`: what is known of each entity, by key."""
    return [
        (key, info.name, known_json(info.categories.items()) or "{}", known_at)
        for key, (known_at, _, info, _) in known.items()
    ]


def merge_entities(cards: Iterable[DatedEntityInfo], known: dict[str, DatedEntityInfo]) -> None:
    """Merge cards into what is known of each entity, in the order in which the cards became known. Changes `known`."""
    for card in sorted(cards, key=lambda card: (card.known_at, card.record_id)):
        before = known.get(card.info.entity_key)
        known[card.info.entity_key] = merge(before, card) if before else card


def entity_cards(events: Iterable[KnownEvent]) -> Iterator[DatedEntityInfo]:
    for event in events:
        for version in event.versions["listed"]:
            if isinstance(version.fact, Listed):
                for entry in version.fact.entries:
                    if entry.entity is not None:
                        yield DatedEntityInfo(version.known_at, version.fact.source, entry.entity, version.record_id)


Rates = dict[str, dict[returns.Cell, list[Any]]]
"""By source, the totals of each cell (services/loader/returns.py)."""


def add_rates(rates: Rates, events: Iterable[KnownEvent]) -> None:
    """Add the contributions of these events. An event must be added once."""
    for event in events:
        fact = settled_of(event)
        if fact is not None:
            cells = rates.setdefault(fact.source, {})
            returns.add(cells, returns.contributions(fact), returns.rates_as_of(day_of(event.event_key)))


def rate_rows(rates: Rates) -> list[Row]:
    """Rows of `analytics.return_rates`."""
    return [
        (source, *cell, bets, staked, returned, returned / staked if staked > 0 else None, as_of)
        for source, cells in sorted(rates.items())
        for cell, (bets, staked, returned, as_of) in sorted(returns.expand(cells).items())
        if bets > 0
    ]


def winners(events: Iterable[KnownEvent]) -> dict[str, int]:
    """The slot that came first, by event key, of settled events with exactly one winner."""
    firsts: dict[str, int] = {}
    for event in events:
        fact = settled_of(event)
        if fact is not None and fact.status == "settled":
            slots = [outcome.slot for outcome in fact.outcomes if outcome.place == 1]
            if len(slots) == 1:
                firsts[event.event_key] = slots[0]
    return firsts


def log_loss(probability: float) -> float:
    """In nats, as in `analytics.prediction_scores`."""
    return -math.log(max(probability, MIN_PROBABILITY))


def _event_rows(event: KnownEvent) -> Iterator[Row]:
    columns: dict[str, Any] = {}
    for fold in event.facts.values():
        columns |= event_columns(fold.fact, fold.changed_at)
    known_at = max(fold.changed_at for fold in event.facts.values())
    yield (
        event.event_key, columns["session"], columns["number"], columns["scheduled_at"], event.status, event.version,
        known_at, *(columns.get(name) for name in _EVENT_COLUMNS),
    )  # fmt: skip


def _fact_rows(table: Table, kind: str) -> Callable[[KnownEvent], Iterator[Row]]:
    def rows(event: KnownEvent) -> Iterator[Row]:
        if kind in event.facts:
            yield from (row for of, row in rows_of(event.facts[kind].fact) if of is table)

    return rows


def _correction_rows(event: KnownEvent) -> Iterator[Row]:
    for fold in event.facts.values():
        for note in fold.corrections:
            key, kind, record_id, field, old, new, known_at = change_row(CORRECTIONS, fold.fact, note)
            yield (key, kind, field, old, new, known_at, str(record_id))


def _regression_rows(event: KnownEvent) -> Iterator[Row]:
    for fold in event.facts.values():
        for note in fold.regressions:
            key, kind, record_id, field, earlier, known_at = change_row(REGRESSIONS, fold.fact, note)
            yield (key, kind, field, earlier, known_at, str(record_id))


def _result_rows(event: KnownEvent) -> Iterator[Row]:
    """The outcomes with what `hr.results` has beside them (headrace/frames/query.py)."""
    fact, card = settled_of(event), listed_of(event)
    if fact is None:
        return
    session = card.session
    entity_keys = {entry.slot: entry.entity.entity_key for entry in card.entries if entry.entity}
    shared = (
        event.event_key, session.session_key, card.source, session.date, session.venue, card.number,
        card.scheduled_at, event.status,
    )  # fmt: skip
    for outcome in fact.outcomes:
        amounts = (_amount(fact, market, outcome) for market in ("win", "place"))
        yield (
            *shared, outcome.slot, entity_keys.get(outcome.slot), outcome.place, outcome.code, outcome.course,
            outcome.start_timing_s, outcome.refunded, *amounts,
        )  # fmt: skip


def _amount(fact: Settled, market: str, outcome: Outcome) -> int | None:
    """None if the market does not count for the entry, as in the return rates."""
    amounts = {row.selection: row.amount for row in fact.transactions if row.market == market}
    if fact.status != "settled" or outcome.refunded or market in fact.missing_markets or not amounts:
        return None
    return amounts.get(str(outcome.slot), 0)


def _session_status(statuses: Iterable[str]) -> str:
    """As in `analytics.sessions`. An event that is postponed is cancelled here."""
    present = {"cancelled" if status == "postponed" else status for status in statuses}
    if present <= {"settled", "void"}:
        return "settled"
    if present == {"cancelled"}:
        return "cancelled"
    if present <= {"settled", "void", "cancelled"}:
        return "settled in part"
    return "listed" if present <= {"listed", "observed"} else "running"


_ROWS: dict[str, Callable[[KnownEvent], Iterator[Row]]] = {
    "events": _event_rows,
    "entries": _fact_rows(ENTRIES, "listed"),
    "observations": _fact_rows(OBSERVATIONS, "observed"),
    "outcomes": _fact_rows(OUTCOMES, "settled"),
    "transactions": _fact_rows(TRANSACTIONS, "settled"),
    "corrections": _correction_rows,
    "regressions": _regression_rows,
    "results": _result_rows,
}
