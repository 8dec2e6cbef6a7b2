"""The facts a prediction rests on: many events as arrays, one row an event, one column a slot.

Instants are whole microseconds since 1970 (UTC) in float64, which is exact until the year 2255. Unknown is NaN in
numbers and None in texts, never a placeholder. Nothing here says what may be read when: that is `features`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

State = Literal["card", "observation"]
STATES: tuple[State, State] = ("card", "observation")
Floats = npt.NDArray[np.float64]
Floats32 = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Texts = npt.NDArray[np.object_]

DAY_US = 24 * 60 * 60 * 1_000_000.0


class EntryFacts(NamedTuple):
    """One slot of one event: what its card, its observation and its result say. Slots count from 1."""

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
    """What one hundred staked on this slot in the market of winners paid; None where it paid nothing."""


class EventFacts(NamedTuple):
    """One event. `day`: days since 1970 of its date in the source's calendar. `amount`: of the main market.

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
    """n events of S slots. `taken`: the card has an entry there. Fields as in EventFacts and EntryFacts.

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
    taken: Bools
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
        return int(self.taken.shape[1])

    def __getitem__(self, rows: Ints | Bools | slice) -> Events:
        def part(value: Any) -> Any:
            return {name: found[rows] for name, found in value.items()} if isinstance(value, dict) else value[rows]

        return replace(self, **{each.name: part(getattr(self, each.name)) for each in fields(self)})

    def as_of_us(self, state: State) -> Floats:
        """(n,): when the newest fact that a prediction in this state uses became known; NaN where it is not."""
        return self.listed_us if state == "card" else np.maximum(self.listed_us, self.observed_us)

    @property
    def has_winner(self) -> Bools:
        """(n,): settled, and exactly one entry came first."""
        return np.asarray((self.status == "settled") & ((self.place == 1).sum(axis=1) == 1), dtype=np.bool_)

    @property
    def winner(self) -> Ints:
        """(n,) index of the slot that came first, counted from 0, where there is one."""
        return np.asarray((self.place == 1).argmax(axis=1), dtype=np.int64)


def events_of(found: Iterable[EventFacts], slots: int) -> Events:
    """Rows in the order given. Entries beyond `slots` are left out: who minds asks `EventFacts.entries` first."""
    rows = list(found)
    placed = [(row, each.slot - 1, each) for row, event in enumerate(rows) for each in event.entries
              if 1 <= each.slot <= slots]  # fmt: skip
    at = (
        np.array([row for row, _, _ in placed], dtype=np.int64),
        np.array([slot for _, slot, _ in placed], dtype=np.int64),
    )
    entries = [each for _, _, each in placed]
    shape = (len(rows), slots)

    def numbers(values: Iterable[float | None]) -> Floats:
        return np.array([np.nan if value is None else value for value in values], dtype=np.float64)

    def texts(values: Iterable[Any]) -> Texts:
        found = list(values)
        made = np.empty(len(found), dtype=object)
        made[:] = found
        return made

    def spread(values: Iterable[float | None]) -> Floats:
        made = np.full(shape, np.nan)
        made[at] = numbers(values)
        return made

    def flags(values: Iterable[bool]) -> Bools:
        made = np.zeros(shape, dtype=np.bool_)
        made[at] = np.fromiter(values, dtype=np.bool_, count=len(entries))
        return made

    def words(values: Iterable[Any]) -> Texts:
        made = np.full(shape, None, dtype=object)
        made[at] = texts(None if value is None else str(value) for value in values)
        return made

    return Events(
        event_key=texts(row.event_key for row in rows),
        session_key=texts(row.session_key for row in rows),
        day=np.array([row.day for row in rows], dtype=np.int64),
        venue=np.array([row.venue for row in rows], dtype=np.int64),
        number=np.array([row.number for row in rows], dtype=np.int64),
        status=texts(row.status for row in rows),
        title=texts(row.title for row in rows),
        session_title=texts(row.session_title for row in rows),
        grade=numbers(row.grade for row in rows),
        distance_m=numbers(row.distance_m for row in rows),
        scheduled_us=numbers(row.scheduled_us for row in rows),
        listed_us=numbers(row.listed_us for row in rows),
        observed_us=numbers(row.observed_us for row in rows),
        settled_us=numbers(row.settled_us for row in rows),
        technique=numbers(row.technique for row in rows),
        amount=numbers(row.amount for row in rows),
        taken=flags(True for _ in entries),
        entity=words(each.entity for each in entries),
        observed_course=spread(each.observed_course for each in entries),
        place=spread(each.place for each in entries),
        code=spread(each.code for each in entries),
        course=spread(each.course for each in entries),
        timing_s=spread(each.timing_s for each in entries),
        refunded=flags(each.refunded for each in entries),
        win_amount=spread(each.win_amount for each in entries),
        measures={
            name: spread(each.measures.get(name) for each in entries)
            for name in _names(each.measures for each in entries)
        },
        categories={
            name: words(each.categories.get(name) for each in entries)
            for name in _names(each.categories for each in entries)
        },
        observed={
            name: spread(each.observed.get(name) for each in entries)
            for name in _names(each.observed for each in entries)
        },
        conditions={
            name: numbers(row.conditions.get(name) for row in rows) for name in _names(row.conditions for row in rows)
        },
    )


def _names(found: Iterable[Mapping[str, Any]]) -> list[str]:
    return sorted({name for each in found for name in each})


def fitting(events: Iterable[EventFacts], slots: int) -> list[EventFacts]:
    """Those that a model of so many slots can say anything of."""
    return [
        event for event in events if len(event.entries) > 1 and all(1 <= entry.slot <= slots for entry in event.entries)
    ]
