"""Generates the clean records that every loader of the benchmark loads.

A record is the card of an event without entries, about 270 bytes of JSON. Every tenth repeats the key of an earlier
one with another distance, so 300,000 records have 270,000 keys.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from typing import NamedTuple

from shared.broker.contract import NewRecord
from shared.events import event_id_hex_of
from shared.records import SharedHeaders
from shared.topics import CLEAN

SOURCE = "bench"
_HEADERS = SharedHeaders("clean-event/1", SOURCE, "bench")
FIRST_DAY = date(2021, 1, 1)
VENUES, NUMBERS = 24, 12
REPEAT_EVERY = 10


class LoadedContent(NamedTuple):
    """The number of rows and the sum of their distances when all records are loaded."""

    rows: int
    distance_sum: int


def make_records(count: int) -> Iterator[NewRecord]:
    """`count` must be a multiple of REPEAT_EVERY."""
    for number in range(count):
        block, place = divmod(number, REPEAT_EVERY)
        is_repeated = place == REPEAT_EVERY - 1
        index = block * (REPEAT_EVERY - 1) + (0 if is_repeated else place)
        yield _record(index, distance_of(index, is_repeated=is_repeated), version=int(is_repeated))


def content_of(count: int) -> LoadedContent:
    """The content of the tables after `count` records, of which the later one of a key wins."""
    keys = count // REPEAT_EVERY * (REPEAT_EVERY - 1)
    repeated = range(0, keys, REPEAT_EVERY - 1)
    first = sum(distance_of(index, is_repeated=False) for index in range(keys))
    return LoadedContent(keys, first + len(repeated))


def distance_of(index: int, *, is_repeated: bool) -> int:
    return 1000 + index % 900 + is_repeated


def _record(index: int, distance_m: int, version: int) -> NewRecord:
    days, event = divmod(index, VENUES * NUMBERS)
    venue, number = divmod(event, NUMBERS)
    day = (FIRST_DAY + timedelta(days=days)).isoformat()
    session = f"{SOURCE}:{day}:{venue + 1:02d}"
    key = f"{session}:{number + 1:02d}"
    value = (
        f'{{"kind":"listed","source":"{SOURCE}","event_key":"{key}","known_at":"{day}T0{version}:00:00Z",'
        f'"document_hash":"{index:08x}","session":{{"session_key":"{session}","date":"{day}","venue":{venue + 1}}},'
        f'"number":{number + 1},"scheduled_at":"{day}T05:12:00Z","distance_m":{distance_m},"entries":[]}}'
    )
    event_id = event_id_hex_of(SOURCE, "cards", key, str(version))
    return NewRecord(CLEAN, key.encode(), value.encode(), _HEADERS.of_hex(event_id))
