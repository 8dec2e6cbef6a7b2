"""Facts of many events as arrays: one row per event, one column per slot.

Instants are whole microseconds since 1970 (UTC) in float64, which is exact until the year 2255. Unknown is NaN in
numbers and None in texts, never a placeholder. `features` decides which fact may be read at which time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from operator import attrgetter
from typing import Any, Literal, NamedTuple, get_args, get_type_hints

import numpy as np
import numpy.typing as npt

State = Literal["card", "observation"]
STATES: tuple[State, State] = ("card", "observation")
Floats = npt.NDArray[np.float64]
Floats32 = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Texts = npt.NDArray[np.object_]

DTYPES = {Floats: np.float64, Ints: np.int64, Bools: np.bool_, Texts: np.object_}
UNKNOWN = {np.float64: np.nan, np.object_: None}

DAY_US = 24 * 60 * 60 * 1_000_000.0


class EntryFacts(NamedTuple):
    """One slot of one event: its card, its observation and its result. Slots count from 1."""

    slot: int
    entity: str | None = None
    measures: Mapping[str, float | None] = {}
    categories: Mapping[str, Any] = {}
    observed_course: float | None = None
    observed: Mapping[str, float | None] = {}
    place: float | None = None
    code: float | None = None
    course: float | None = None
    timing_s: float | None = None
    refunded: bool = False
    win_amount: float | None = None
    """Payout per 100 staked on this slot in the win market; None if it paid nothing."""


class EventFacts(NamedTuple):
    """One event. `day`: its date in the source's calendar, in days since 1970. `amount`: payout of the trend market.

    `title` is the event's own (its part in the meeting), `session_title` the meeting's.
    """

    event_key: str
    session_key: str
    day: int
    venue: int
    number: int
    status: str
    entries: Sequence[EntryFacts]
    title: str | None = None
    grade: float | None = None
    distance_m: float | None = None
    scheduled_us: float | None = None
    listed_us: float | None = None
    observed_us: float | None = None
    settled_us: float | None = None
    technique: float | None = None
    conditions: Mapping[str, float | None] = {}
    amount: float | None = None
    session_title: str | None = None


@dataclass(frozen=True)
class Events:
    """n events of S slots. `occupied`: the card has an entry in the slot. `events_of` packs every other field from the
    field of the same name: (n,) from EventFacts, (n, S) from EntryFacts, with the type annotated here.

    `measures`, `categories` and `observed` map a name to (n, S), `conditions` to (n,); category values are texts.
    """

    event_key: Texts
    session_key: Texts
    day: Ints
    venue: Ints
    number: Ints
    status: Texts
    title: Texts
    session_title: Texts
    grade: Floats
    distance_m: Floats
    scheduled_us: Floats
    listed_us: Floats
    observed_us: Floats
    settled_us: Floats
    technique: Floats
    amount: Floats
    occupied: Bools
    entity: Texts
    observed_course: Floats
    place: Floats
    code: Floats
    course: Floats
    timing_s: Floats
    refunded: Bools
    win_amount: Floats
    measures: dict[str, Floats] = field(default_factory=dict)
    categories: dict[str, Texts] = field(default_factory=dict)
    observed: dict[str, Floats] = field(default_factory=dict)
    conditions: dict[str, Floats] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.event_key)

    @property
    def slots(self) -> int:
        return int(self.occupied.shape[1])

    def __getitem__(self, rows: Ints | Bools | slice) -> Events:
        def part(value: Any) -> Any:
            return {name: column[rows] for name, column in value.items()} if isinstance(value, dict) else value[rows]

        return replace(self, **{each.name: part(getattr(self, each.name)) for each in fields(self)})

    def as_of_us(self, state: State) -> Floats:
        """(n,): when the newest fact that a prediction in this state uses became known; NaN if that is unknown."""
        return self.listed_us if state == "card" else np.maximum(self.listed_us, self.observed_us)

    @property
    def has_winner(self) -> Bools:
        """(n,): whether the event is settled and exactly one entry came first."""
        return np.asarray((self.status == "settled") & ((self.place == 1).sum(axis=1) == 1), dtype=np.bool_)

    @property
    def winner(self) -> Ints:
        """(n,): index of the slot that came first, counted from 0. Valid only where `has_winner`."""
        return np.asarray((self.place == 1).argmax(axis=1), dtype=np.int64)


COLUMNS = get_type_hints(Events)
"""Field types of Events, resolved once: resolving them takes longer than packing one event."""


def events_of(facts: Iterable[EventFacts], slots: int) -> Events:
    """Packs events into arrays, in the given order. Drops entries with a slot above `slots`: see `supported_events`."""
    rows = list(facts)
    entry_cells = [
        (row * slots + entry.slot - 1, entry)
        for row, event in enumerate(rows)
        for entry in event.entries
        if 1 <= entry.slot <= slots
    ]
    per_event = _Table(rows, np.arange(len(rows)), (len(rows),))
    cells = np.array([cell for cell, _ in entry_cells], dtype=np.int64)
    per_entry = _Table([entry for _, entry in entry_cells], cells, (len(rows), slots))
    columns = {
        name: (per_event if name in EventFacts._fields else per_entry).column(name, hint)
        for name, hint in COLUMNS.items()
        if name in EventFacts._fields or name in EntryFacts._fields
    }
    return Events(occupied=per_entry.pack([True] * len(entry_cells), np.bool_), **columns)


@dataclass(frozen=True)
class _Table:
    """Facts of events or of entries, and the cell (flat index) that each of them fills in an array of `shape`."""

    facts: Sequence[EventFacts | EntryFacts]
    cells: Ints
    shape: tuple[int, ...]

    def column(self, name: str, hint: Any) -> Any:
        """The field of Events with this name and type, packed from the attribute of the same name."""
        values = list(map(attrgetter(name), self.facts))
        if hint in DTYPES:
            return self.pack(values, DTYPES[hint])
        dtype = DTYPES[get_args(hint)[1]]  # dict[str, Floats]: an array for each key that occurs
        return {key: self.pack([each.get(key) for each in values], dtype) for key in sorted(set().union(*values))}

    def pack(self, values: Sequence[Any], dtype: type[np.generic]) -> npt.NDArray[Any]:
        """None becomes NaN in numeric arrays."""
        if dtype is np.object_:
            values = [None if value is None else str(value) for value in values]
        array = np.full(self.shape, UNKNOWN.get(dtype, 0), dtype=dtype)
        array.reshape(-1)[self.cells] = np.array(values, dtype=dtype)
        return array


def supported_events(events: Iterable[EventFacts], slots: int) -> list[EventFacts]:
    """The events that a model with this many slots can predict: two entries or more, all in slots 1..`slots`."""
    return [
        event for event in events if len(event.entries) > 1 and all(1 <= entry.slot <= slots for entry in event.entries)
    ]
