"""Keeps an in-memory index of a service's dead letters, and refreshes it with the new records of their topic.

Payloads are not kept; `read_letter` reads a single letter with its payload.
"""

from __future__ import annotations

import threading

from shared.broker.contract import Broker, Record, TopicPartition
from shared.broker.counting.read_range import read_range
from shared.ops.dead_letters import DeadLetter, DeadLetterPlace, letter_of
from shared.topics import dead_letter_topic

# About 0.5 KB each, not counting shared values: 25 MB in all.
MAX_LETTERS = 50_000


class DeadLetterIndex:
    """Thread-safe. `refresh` uses the caller's broker, which no other thread may use during the call."""

    def __init__(self, service: str, max_letters: int = MAX_LETTERS) -> None:
        self._topic = dead_letter_topic(service)
        self._max_letters = max_letters
        self._lock = threading.Lock()
        self._letters: dict[DeadLetterPlace, DeadLetter] = {}
        self._spans: dict[int, tuple[int, int]] = {}

    def refresh(self, broker: Broker) -> None:
        """Read the new letters and drop those that retention removed. Raises TransientError if the broker is
        unavailable."""
        with self._lock:
            tps = broker.partitions(self._topic)
            begins, ends = broker.begin_offsets(tps), broker.end_offsets(tps)
            if any(ends[tp] < self._known_end(tp) for tp in tps):  # the topic was recreated
                self._letters, self._spans = {}, {}
            share = max(1, self._max_letters // len(tps))
            ranges = {tp: (max(self._known_end(tp), begins[tp], ends[tp] - share), ends[tp]) for tp in tps}
            for batch in read_range(broker, ranges):
                self._letters |= {letter.place: letter for letter in map(letter_of, batch)}
            self._spans = {
                tp.partition: (max(begins[tp], self._spans.get(tp.partition, ranges[tp])[0]), ends[tp]) for tp in tps
            }
            self._forget()

    def letters(self) -> list[DeadLetter]:
        """All letters, newest first; letters of the same millisecond by descending place."""
        with self._lock:
            letters = list(self._letters.values())
        return sorted(letters, key=sort_key, reverse=True)

    def get(self, place: DeadLetterPlace) -> DeadLetter | None:
        with self._lock:
            return self._letters.get(place)

    def spans(self) -> dict[int, tuple[int, int]]:
        """The indexed offsets (begin, end) per partition. Earlier letters were removed by retention, or dropped because
        of the limit."""
        with self._lock:
            return dict(self._spans)

    def _known_end(self, tp: TopicPartition) -> int:
        return self._spans.get(tp.partition, (0, 0))[1]

    def _forget(self) -> None:
        """Drop the letters before the spans and the oldest ones above the limit; the spans then begin later."""
        for letter in sorted(self._letters.values(), key=sort_key)[: max(0, len(self._letters) - self._max_letters)]:
            place = letter.place
            begin, end = self._spans[place.partition]
            self._spans[place.partition] = (max(begin, place.offset + 1), end)
        self._letters = {
            place: letter for place, letter in self._letters.items() if place.offset >= self._spans[place.partition][0]
        }


def sort_key(letter: DeadLetter) -> tuple[int, DeadLetterPlace]:
    return letter.at_ms, letter.place


def read_letter(broker: Broker, service: str, place: DeadLetterPlace) -> Record | None:
    """The letter with its payload; None if there is no letter at this place, or no longer."""
    tp = TopicPartition(dead_letter_topic(service), place.partition)
    if tp not in broker.partitions(tp.topic):
        return None
    end = broker.end_offsets([tp])[tp]
    records = [
        record for batch in read_range(broker, {tp: (place.offset, min(end, place.offset + 1))}) for record in batch
    ]
    return records[0] if records and records[0].offset == place.offset else None
