"""Synthetic facts of a small source, and the records that contain them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import orjson

from shared.broker.contract import Record
from shared.events import (
    Categories,
    Conditions,
    EntityInfo,
    Entry,
    HeadProbability,
    Listed,
    Observed,
    Outcome,
    Prediction,
    SessionInfo,
    Settled,
    Transaction,
    event_id_of,
    event_key_of,
    session_key_of,
)
from shared.records import FETCHED_AT, LIVE, DecodedRecord, decode, encode
from shared.topics import CLEAN, PREDICTIONS

SOURCE = "river"
DAY = date(2031, 5, 6)
START = datetime(2031, 5, 6, 3, 30, tzinfo=UTC)
"""Start of event 1."""


class StillClock:
    """A clock that shows a fixed time. A test may set it."""

    def __init__(self, at: datetime = START) -> None:
        self.at = at

    def now(self) -> datetime:
        return self.at


def key(number: int = 1, day: date = DAY, venue: int = 7) -> str:
    return event_key_of(SOURCE, day, venue, number)


def at(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


def entry(slot: int, number: int | None = None, *, categories_of: Categories | None = None, **overrides: Any) -> Entry:
    """Slot 3 is entity river:103, unless `number` is given; `categories_of` adds categories to the entity."""
    entity_key = f"{SOURCE}:{number or 100 + slot}"
    categories: Categories = {"class": 2, **(categories_of or {})}
    fields: dict[str, Any] = {
        "entity": EntityInfo(entity_key=entity_key, name=f"racer {entity_key}", categories=categories),
        "measures": {"weight_kg": 50.0 + slot, "age_years": 30.0},
        "categories": {"motor_number": 10 + slot},
    }
    return Entry(slot=slot, **(fields | overrides))


def listed(number: int = 1, *, known: float | None = -300, day: date = DAY, venue: int = 7, **overrides: Any) -> Listed:
    """A card that became known `known` minutes after START."""
    fields: dict[str, Any] = {
        "session": SessionInfo(
            session_key=session_key_of(SOURCE, day, venue), date=day, venue=venue, title="Spring Cup", grade=3
        ),
        "number": number,
        "scheduled_at": START + timedelta(days=(day - DAY).days, minutes=30 * (number - 1)),
        "title": "heat",
        "distance_m": 1800,
        "card_key": f"card {venue}/{number}",
        "entries": tuple(entry(slot) for slot in range(1, 5)),
    }
    return Listed(**(_envelope(number, known, day, venue) | fields | overrides))


def observed(
    number: int = 1, *, known: float | None = -10, day: date = DAY, venue: int = 7, **overrides: Any
) -> Observed:
    fields: dict[str, Any] = {
        "conditions": Conditions(weather=1, wind_m_s=3.0),
        "entries": tuple(
            {"slot": slot, "course": slot, "measures": {"exhibition_time_s": 6.7}} for slot in range(1, 5)
        ),
    }
    return Observed(**(_envelope(number, known, day, venue) | fields | overrides))


def outcomes(*places: int | None, codes: dict[int, int] | None = None) -> tuple[Outcome, ...]:
    """The outcomes of slots 1, 2 ...; codes 14 to 16 are refunded, as in the boat race source."""
    codes = codes or {}
    return tuple(
        Outcome(
            slot=slot,
            entity_key=f"{SOURCE}:{100 + slot}",
            place=place,
            code=codes.get(slot),
            course=slot,
            start_timing_s=0.1,
            refunded=codes.get(slot) in {14, 15, 16},
        )
        for slot, place in enumerate(places, start=1)
    )


def paid(**markets: dict[str, int]) -> tuple[Transaction, ...]:
    return tuple(
        Transaction(market=market, selection=selection, amount=amount, ordinal=ordinal)
        for market, rows in markets.items()
        for ordinal, (selection, amount) in enumerate(rows.items(), start=1)
    )


PAID = paid(win={"1": 160}, place={"1": 110, "2": 190}, exacta={"1-2": 520}, quinella={"1=2": 330})


def settled(number: int = 1, *, known: float | None = 20, day: date = DAY, venue: int = 7, **overrides: Any) -> Settled:
    fields: dict[str, Any] = {
        "status": "settled",
        "technique": 1,
        "conditions": Conditions(weather=1, wind_m_s=4.0),
        "outcomes": outcomes(1, 2, 3, 4),
        "transactions": PAID,
    }
    return Settled(**(_envelope(number, known, day, venue) | fields | overrides))


def received(fact: Any, record_id: UUID | None = None, *, revision: str = LIVE, partition: int = 0) -> DecodedRecord:
    """The fact as the loop passes it to a handler, encoded and decoded. By default its content determines its id."""
    content = orjson.dumps(fact.model_dump(mode="json"), option=orjson.OPT_SORT_KEYS).decode()
    record_id = record_id or event_id_of(fact.source, fact.kind, fact.event_key, content)
    encoded = encode(fact, CLEAN, "clean-event/1", record_id, "cleaner", revision)
    return decode(Record(CLEAN, partition, 0, 0, encoded.key, encoded.value, encoded.headers))


def live(fact: Any, seconds: float = 20, **changes: Any) -> DecodedRecord:
    """The fact as a record whose document was fetched that many seconds before START."""
    item = received(fact)
    fetched_at = (START - timedelta(seconds=seconds)).isoformat().encode()
    record = item.record._replace(headers={**item.record.headers, FETCHED_AT: fetched_at})
    return item._replace(record=record._replace(**changes.pop("record", {})), **changes)


def prediction_of(number: int) -> Prediction:
    """The live model's prediction of an event."""
    return Prediction(
        source=SOURCE,
        event_key=key(number),
        as_of=at(-5),
        state="card",
        model_version="m1",
        feature_hash="f",
        inputs=(),
        probabilities=(HeadProbability(head="result", slot=1, label="win", probability=0.25),),
    )


def prediction(number: int = 1) -> DecodedRecord:
    """A record of the live model's prediction of an event."""
    encoded = encode(prediction_of(number), PREDICTIONS, "prediction/1", UUID(int=number), "predictor")
    return decode(Record(PREDICTIONS, 0, 0, 0, encoded.key, encoded.value, encoded.headers))


def _envelope(number: int, known: float | None, day: date, venue: int) -> dict[str, Any]:
    known_at = None if known is None else at(known) + timedelta(days=(day - DAY).days)
    return {"source": SOURCE, "event_key": key(number, day, venue), "known_at": known_at, "document_hash": "d" * 64}
