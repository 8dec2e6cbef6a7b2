"""Converts facts to rows, in the column order of services/loader/schema.py, with natural keys in place of ids."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, NamedTuple

import orjson

from services.loader.fact_tree import FactEvent
from services.loader.schema import ENTRIES, OBSERVATIONS, OUTCOMES, TRANSACTIONS, Table
from shared.errors import InvalidEvent
from shared.events import Listed, Observed, Settled, day_of

Row = tuple[Any, ...]


class SessionRow(NamedTuple):
    """A row of facts.sessions, with the natural keys of its source and venue."""

    session_key: str
    source: str
    venue: int
    date: date
    title: str | None
    grade: int | None


def rows_of(fact: FactEvent) -> Iterator[tuple[Table, Row]]:
    """The fact's rows for entries, observations, outcomes and transactions."""
    key = fact.event_key
    if isinstance(fact, Listed):
        for entry in fact.entries:
            entity_key = entry.entity.entity_key if entry.entity else None
            yield ENTRIES, (key, entry.slot, entity_key, _json_object(entry.measures), _json_object(entry.categories))
    elif isinstance(fact, Observed):
        for observation in fact.entries:
            yield OBSERVATIONS, (key, observation.slot, observation.course, _json_object(observation.measures))
    else:
        for outcome in fact.outcomes:
            yield (
                OUTCOMES,
                (
                    key,
                    outcome.slot,
                    outcome.place,
                    outcome.code,
                    outcome.course,
                    outcome.start_timing_s,
                    outcome.refunded,
                ),
            )
        for transaction in fact.transactions:
            yield (
                TRANSACTIONS,
                (key, transaction.market, transaction.selection, transaction.amount, transaction.ordinal),
            )


def known_at_of(fact: FactEvent, scheduled_at: datetime | None) -> datetime:
    """When the fact became known: its own `known_at`, else the schedule plus its source's `known_after_s`.

    A card is dated by its own schedule, because the event's schedule depends on it. Without a schedule it is the end of
    the event's day (UTC): late enough that nothing leaks into the past. Raises InvalidEvent if there is no day either,
    or if the result is out of range.
    """
    if fact.known_at is not None:
        return fact.known_at
    if isinstance(fact, Listed):
        scheduled_at = fact.scheduled_at
    day = day_of(fact.event_key)
    try:
        if scheduled_at is not None:
            return scheduled_at + timedelta(seconds=fact.known_after_s or 0.0)
        if day is not None:
            return datetime.combine(day + timedelta(days=1), time(), UTC)
    except OverflowError as error:
        raise InvalidEvent(f"{fact.event_key}: expected a known_at within the calendar, got an overflow") from error
    raise InvalidEvent(f"{fact.event_key}: expected known_at or an event key with a day, got neither")


def known_json(values: Iterable[tuple[str, Any]]) -> str | None:
    """A JSON object of the values that are not None; None if there are none."""
    known_values = {name: value for name, value in values if value is not None}
    return json_text(known_values) if known_values else None


def json_text(values: Any) -> str:
    """JSON with sorted keys, so that equal values give equal texts."""
    return orjson.dumps(values, option=orjson.OPT_SORT_KEYS).decode()


def _json_object(values: Mapping[str, Any]) -> str:
    if None not in values.values():  # the usual case, twice for each entry
        return json_text(values)
    return known_json(values.items()) or "{}"


def session_row(fact: Listed) -> SessionRow:
    session = fact.session
    return SessionRow(session.session_key, fact.source, session.venue, session.date, session.title, session.grade)


def latest_sessions(rows: Iterable[SessionRow]) -> dict[str, SessionRow]:
    """One row for each session. Title and grade are those of the last given row that has them."""
    latest: dict[str, SessionRow] = {}
    for row in rows:
        named = latest.get(row.session_key, row)
        latest[row.session_key] = row._replace(
            title=row.title or named.title, grade=named.grade if row.grade is None else row.grade
        )
    return latest


def event_columns(fact: FactEvent, changed_at: datetime) -> dict[str, Any]:
    """The columns of facts.events that this kind of fact owns, with the session's key in place of its id."""
    if isinstance(fact, Listed):
        return {
            "session": fact.session.session_key,
            "number": fact.number,
            "scheduled_at": fact.scheduled_at,
            "title": fact.title,
            "distance_m": fact.distance_m,
            "card_key": fact.card_key,
            "session_title": fact.session.title or None,
            "session_grade": fact.session.grade,
            "listed_at": changed_at,
        }
    if isinstance(fact, Observed):
        return {"observed_conditions": known_json(fact.conditions), "observed_at": changed_at}
    return {
        "technique": fact.technique,
        "conditions": known_json(fact.conditions),
        "missing_markets": list(fact.missing_markets) or None,
        "settled_at": changed_at,
    }


def status_of(fact: FactEvent) -> str:
    """The event's status according to this fact alone."""
    if isinstance(fact, Settled):
        return fact.status
    return "observed" if isinstance(fact, Observed) else "listed"


def status_with(status: str, fact: FactEvent) -> str:
    """The event's status after a fact: a result decides; an observation changes only the status `listed`."""
    is_decisive = isinstance(fact, Settled) or (isinstance(fact, Observed) and status == "listed")
    return status_of(fact) if is_decisive else status
