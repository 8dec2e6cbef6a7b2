"""Generates the clean records of made-up events: for each a card with six entries, an observation and a result.

The values depend only on the number of the event, so a month can be made again. They have the names, the number and
the size of those of the boat race source. Events of a day come in the order of their days: all cards, then the
observation and the result of each.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from random import Random
from typing import Any

import orjson

from shared.broker.contract import NewRecord
from shared.events import event_id_hex_of
from shared.records import SharedHeaders
from shared.topics import CLEAN

SOURCE = "bench"
FIRST_YEAR = 2011
# 120 months are the events of 14 recorded archives of 39,360 events.
EVENTS_PER_MONTH, DAYS, NUMBERS = 4592, 28, 12
EVENTS_PER_DAY = EVENTS_PER_MONTH // DAYS
RECORDS_PER_EVENT = 3
SLOTS = 6
# Entities take part for some years; each month some leave and some come.
ENTITIES, NEW_ENTITIES_PER_MONTH = 1600, 5
_HEADERS = SharedHeaders("clean-event/1", SOURCE, "bench")
_CARD_MEASURES = (
    "weight_kg", "age_years", "flying_count", "late_count", "average_start_timing_s", "national_points",
    "national_top2_percent", "national_top3_percent", "local_points", "local_top2_percent", "local_top3_percent",
    "motor_top2_percent", "motor_top3_percent", "hull_top2_percent", "hull_top3_percent",
)  # fmt: skip
_OBSERVED_MEASURES = ("weight_kg", "weight_adjustment_kg", "exhibition_time_s", "tilt_degree", "start_timing_s")
# Rows of a result by market, and the number of places in a selection.
_MARKETS = (
    ("trifecta", 1, 3), ("trio", 1, 3), ("exacta", 1, 2), ("quinella", 1, 2), ("quinella_place", 3, 2), ("win", 1, 1),
    ("place", 2, 1),
)  # fmt: skip


def make_month(month: int) -> Iterator[NewRecord]:
    """The records of a month; 0 is January of FIRST_YEAR."""
    first = date(FIRST_YEAR + month // 12, 1 + month % 12, 1)
    for days in range(DAYS):
        events = [_Event(month, first + timedelta(days=days), index) for index in range(EVENTS_PER_DAY)]
        yield from (event.record("listed", event.card()) for event in events)
        for event in events:
            yield event.record("observed", event.observation())
            yield event.record("settled", event.result())


class _Event:
    def __init__(self, month: int, day: date, index: int) -> None:
        """`index`: of the event in its day."""
        self.venue, self.number = 1 + index // NUMBERS, 1 + index % NUMBERS
        self.session = f"{SOURCE}:{day}:{self.venue:02d}"
        self.key = f"{self.session}:{self.number:02d}"
        self._day, self._month = day, month
        self._random = Random(self.key)

    def record(self, kind: str, body: dict[str, Any]) -> NewRecord:
        stated = {"kind": kind, "source": SOURCE, "event_key": self.key, "document_hash": f"{self.key:0>64}"}
        headers = _HEADERS.of_hex(event_id_hex_of(SOURCE, kind, self.key, "1"))
        return NewRecord(CLEAN, self.key.encode(), orjson.dumps(stated | body), headers)

    def card(self) -> dict[str, Any]:
        entities = self._random.sample(range(ENTITIES), SLOTS)
        return {
            "known_at": f"{self._day}T00:00:00Z",
            "session": {
                "session_key": self.session,
                "date": str(self._day),
                "venue": self.venue,
                "title": f"Cup of venue {self.venue}",
                "grade": self.venue % 5,
            },
            "number": self.number,
            "scheduled_at": f"{self._day}T{1 + self.number // 2:02d}:{self.number * 5 % 60:02d}:00Z",
            "title": f"Heat {self.number}",
            "distance_m": 1800,
            "entries": [self._entry(slot, place) for slot, place in enumerate(entities, 1)],
        }

    def _entry(self, slot: int, place: int) -> dict[str, Any]:
        number = 3000 + place + self._month * NEW_ENTITIES_PER_MONTH
        return {
            "slot": slot,
            "entity": {
                "entity_key": f"{SOURCE}:{number}",
                "name": f"Entity {number}",
                "categories": {"class": 1 + (number + self._month // 6) % 4, "branch": 1 + number % 24},
            },
            "measures": {name: round(self._random.uniform(0, 60), 2) for name in _CARD_MEASURES},
            "categories": {"motor": self._random.randrange(1, 80), "hull": self._random.randrange(1, 80)},
        }

    def observation(self) -> dict[str, Any]:
        return {
            "known_at": f"{self._day}T01:00:00Z",
            "conditions": self._conditions(),
            "entries": [
                {
                    "slot": slot,
                    "course": slot,
                    "measures": {name: round(self._random.uniform(0, 8), 2) for name in _OBSERVED_MEASURES},
                }
                for slot in range(1, SLOTS + 1)
            ],
        }

    def result(self) -> dict[str, Any]:
        order = self._random.sample(range(1, SLOTS + 1), SLOTS)
        return {
            "known_at": f"{self._day}T10:00:00Z",
            "status": "settled",
            "technique": self._random.randrange(1, 7),
            "conditions": self._conditions(),
            "outcomes": [
                {"slot": slot, "place": place, "course": slot, "start_timing_s": round(self._random.uniform(0, 0.3), 2)}
                for place, slot in enumerate(order, 1)
            ],
            "transactions": [
                {
                    "market": market,
                    "selection": "-".join(map(str, order[row : row + places])),
                    "amount": 10 * self._random.randrange(10, 10_000),
                    "ordinal": row + 1,
                }
                for market, rows, places in _MARKETS
                for row in range(rows)
            ],
        }

    def _conditions(self) -> dict[str, Any]:
        return {
            "weather": self._random.randrange(1, 5),
            "wind_m_s": self._random.randrange(8),
            "wind_direction": self._random.randrange(1, 18),
            "wave_cm": self._random.randrange(10),
            "air_temperature_c": round(self._random.uniform(0, 35), 1),
            "water_temperature_c": round(self._random.uniform(5, 30), 1),
        }
