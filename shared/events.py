"""The messages in the topics: their fields and units. Messages are immutable and validated once, on decoding.

Times are timezone-aware UTC. Amounts are integers in the source's currency per 100 staked. None means "unknown"; no
field has a placeholder value. Adding an optional field keeps SCHEMA_VERSION; any other change increments it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import field
from datetime import date, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter
from pydantic.dataclasses import dataclass

SCHEMA_VERSION = 1

# A fixed namespace: the same fact gets the same id on every machine and in every attempt.
NAMESPACE = UUID("6f0c8a3e-54b3-5f0e-9d0b-7a1d1f6c2b11")
_NAMESPACE_BYTES = NAMESPACE.bytes
# By a hex digit of a hash: the digit in its place in a UUID, whose first two bits are the variant.
_VARIANTS = {f"{digit:x}": f"{digit & 0x3 | 0x8:x}" for digit in range(16)}

Slot = Annotated[int, Field(ge=1, le=99)]
Key = Annotated[str, Field(min_length=1, max_length=200)]
# Measured values by name. The name ends in the unit (weight_kg, timing_s). The cleaner of a source lists its names.
Measures = dict[str, float | None]
Categories = dict[str, int | str | None]


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


# For the parts of which a message has many, as dataclasses: made and freed in half of a model's time, validated alike.
_PART = ConfigDict(extra="forbid", allow_inf_nan=False)


class RawEvent(Frozen):
    """One event's slice of one fetched document, unchanged (topic raw-events, key = event key)."""

    schema_version: Literal[1] = 1
    source: Key
    feed: Key
    event_key: Key
    ordinal: int = Field(ge=1, description="version of this slice: 1, then 2, 3, ... as it changes")
    document_hash: str = Field(description="SHA-256 of the whole document, which is its name in the archive")
    url: str
    fetched_at: AwareDatetime
    published_at: AwareDatetime | None = Field(default=None, description="publication time according to the source")
    historical: bool = Field(description="fetched after its day was over, so the first publication time is unknown")
    body: dict[str, Any]


class SessionInfo(Frozen):
    """A session: the events at one venue on one day, in order."""

    session_key: Key
    date: date
    venue: int
    title: str | None = None
    grade: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True, config=_PART)
class EntityInfo:
    """A participant of many events. Categories such as class and branch are as of this event."""

    entity_key: Key
    name: str | None = None
    categories: Categories = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True, config=_PART)
class Entry:
    """An entity's slot in an event, with the values on the card."""

    slot: Slot
    entity: EntityInfo | None = None
    measures: Measures = field(default_factory=dict)
    categories: Categories = field(default_factory=dict)


class Fact(Frozen):
    """The fields that all clean events of a contest share."""

    schema_version: Literal[1] = 1
    source: Key
    event_key: Key
    known_at: AwareDatetime | None = Field(
        default=None, description="when the fact became public; None if only `known_after_s` is given"
    )
    known_after_s: float | None = Field(
        default=None, description="estimate where the true time is lost: seconds after scheduled_at"
    )
    document_hash: str


class Listed(Fact):
    """An event is on the card."""

    kind: Literal["listed"] = "listed"
    session: SessionInfo
    number: int = Field(ge=1)
    scheduled_at: AwareDatetime | None = None
    title: str | None = None
    distance_m: int | None = Field(default=None, gt=0)
    card_key: str | None = Field(
        default=None,
        description="identifies the same entries at the same venue and number on any date, to find postponed cards",
    )
    entries: tuple[Entry, ...]


class Conditions(Frozen):
    """Weather and water as the source recorded them, with the codes of the source's reference tables."""

    weather: int | None = None
    wind_m_s: float | None = Field(default=None, ge=0)
    wind_direction: int | None = None
    wave_cm: float | None = Field(default=None, ge=0)
    air_temperature_c: float | None = None
    water_temperature_c: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True, config=_PART)
class EntryObservation:
    """Measurements of one entry before the event."""

    slot: Slot
    course: Annotated[int, Field(ge=1)] | None = None
    measures: Measures = field(default_factory=dict)


class Observed(Fact):
    """An event was observed before it started."""

    kind: Literal["observed"] = "observed"
    conditions: Conditions = Conditions()
    entries: tuple[EntryObservation, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, config=_PART)
class Outcome:
    """The result of one entry: a place, or the source's code for why there is none."""

    slot: Slot
    entity_key: Key | None = None
    place: Annotated[int, Field(ge=1)] | None = None
    code: int | None = None
    course: Annotated[int, Field(ge=1)] | None = None
    start_timing_s: float | None = None
    refunded: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, config=_PART)
class Transaction:
    """The settled amount of one selection, per 100 staked. `ordinal` counts from 1 within the market."""

    market: Key
    selection: Key
    amount: Annotated[int, Field(ge=0)]
    ordinal: Annotated[int, Field(ge=1)]


Status = Literal["settled", "void", "cancelled", "provisional"]


class Settled(Fact):
    """An event ended or will not take place. `provisional`: only part of the result is published."""

    kind: Literal["settled"] = "settled"
    status: Status
    technique: int | None = None
    conditions: Conditions = Conditions()
    outcomes: tuple[Outcome, ...] = ()
    transactions: tuple[Transaction, ...] = ()
    missing_markets: tuple[str, ...] = Field(
        default=(), description="markets that must have paid according to the outcomes, but have no row in the source"
    )


class ReferenceRow(Frozen):
    """One row of reference data: the meaning of a code."""

    code: str
    name: str
    attributes: dict[str, int | float | str | bool | None] = Field(default_factory=dict)


class Reference(Frozen):
    """One complete table of a source's reference data (venues, markets, grades ...). Its event key names the table."""

    schema_version: Literal[1] = 1
    kind: Literal["reference"] = "reference"
    source: Key
    event_key: Key
    known_at: AwareDatetime
    document_hash: str
    table: Key
    rows: tuple[ReferenceRow, ...]


FactKind = Literal["listed", "observed", "settled"]


class Withdrawal(Frozen):
    """A replayed record that contains no fact under the current rules: what earlier rules made of it is withdrawn."""

    schema_version: Literal[1] = 1
    source: Key
    event_key: Key
    fact: FactKind = Field(description="the kind of fact that earlier rules made of the record")
    reason: str = Field(description="why the record contains no fact")
    document_hash: str


CleanEvent = Annotated[Listed | Observed | Settled | Reference, Field(discriminator="kind")]


class LoadedEvent(Frozen):
    """A fact's rows are durable (topic loaded-events). Emitted only for facts that changed a row."""

    schema_version: Literal[1] = 1
    source: Key
    event_key: Key
    kind: Literal["listed", "observed", "settled", "reference"]
    version: int = Field(ge=1, description="number of versions of this kind of fact that the event has had")
    known_at: AwareDatetime
    scheduled_at: AwareDatetime | None = None
    status: str | None = Field(default=None, description="the event's status after this fact")
    row_id: int | None = Field(default=None, description="facts.events.id")
    changed: tuple[str, ...] = Field(default=(), description="fields whose value changed; empty for a first version")


class HeadProbability(Frozen):
    """The probability of one class of one model head. `slot` is None for heads about the whole event."""

    head: Literal["result", "top3", "trend", "behaviour"]
    slot: Slot | None = None
    label: str
    probability: float = Field(ge=0, le=1)


class Decision(Frozen):
    """The policy's action, with the value of each action (mean return of one unit staked, minus one)."""

    action: str
    values: dict[str, float]


class Prediction(Frozen):
    """Probabilities for one event from one state of knowledge (topic predictions, key = event key)."""

    schema_version: Literal[1] = 1
    source: Key
    event_key: Key
    as_of: AwareDatetime
    scheduled_at: AwareDatetime | None = None
    state: Literal["card", "observation"]
    model_version: Key
    feature_hash: str
    inputs: tuple[str, ...] = Field(
        description="topic/partition/offset of the loaded-events that triggered the prediction"
    )
    probabilities: tuple[HeadProbability, ...]
    decision: Decision | None = None
    shadow: bool = False
    replayed: bool = Field(
        default=False, description="made by a replay from facts as of `as_of`, possibly long after the event"
    )


CLEAN_EVENT: TypeAdapter[Listed | Observed | Settled | Reference] = TypeAdapter(CleanEvent)

RAW_SCHEMA = "raw-event/1"
STORED_VERSION: TypeAdapter[Listed | Observed | Settled | Reference | Withdrawal] = TypeAdapter(CleanEvent | Withdrawal)
"""The messages in facts.versions."""

MESSAGE_TYPES: dict[str, TypeAdapter[Any]] = {
    RAW_SCHEMA: TypeAdapter(RawEvent),
    "clean-event/1": CLEAN_EVENT,
    "withdrawal/1": TypeAdapter(Withdrawal),
    "loaded-event/1": TypeAdapter(LoadedEvent),
    "prediction/1": TypeAdapter(Prediction),
}
"""All message types, by the name in the `schema` header."""


def event_id_of(source: str, feed: str, natural_key: str, content_hash: str, ordinal: int = 1) -> UUID:
    """The id of a fact: the same for the same content in every attempt and on every machine.

    `ordinal` distinguishes a content that returns after a change (docs/adr/0003-event-ids.md).
    """
    return UUID(event_id_hex_of(source, feed, natural_key, content_hash, ordinal))


def event_id_hex_of(source: str, feed: str, natural_key: str, content_hash: str, ordinal: int = 1) -> str:
    """The 32 hex digits of `event_id_of`, a version 5 UUID (RFC 9562), without the cost of UUID objects."""
    suffix = "" if ordinal == 1 else f"/{ordinal}"
    name = f"{source}/{feed}/{natural_key}/{content_hash}{suffix}".encode()
    digest = hashlib.sha1(_NAMESPACE_BYTES + name, usedforsecurity=False).hexdigest()
    return f"{digest[:12]}5{digest[13:16]}{_VARIANTS[digest[16]]}{digest[17:32]}"


def event_keys_of(source: str, day: date, events: Sequence[tuple[int, int]]) -> list[str]:
    """The keys of events of one day, by venue and number."""
    prefix = f"{source}:{day.isoformat()}:"
    return [f"{prefix}{venue:02d}:{number:02d}" for venue, number in events]


def event_key_of(source: str, day: date, venue: int, number: int) -> str:
    return f"{source}:{day.isoformat()}:{venue:02d}:{number:02d}"


def session_key_of(source: str, day: date, venue: int) -> str:
    return f"{source}:{day.isoformat()}:{venue:02d}"


def entity_key_of(source: str, number: int) -> str:
    return f"{source}:{number}"


def day_of(event_key: str) -> date | None:
    """The day in an event key; None for reference data, which has no day."""
    try:
        return date.fromisoformat(event_key.split(":")[1])
    except (IndexError, ValueError):
        return None


def as_utc_ms(instant: datetime) -> int:
    return int(instant.timestamp() * 1000)
