"""Which predictions were told already, by whomever: in this process, in the topic, in the tables.

What a process remembers ends with it, and what it appended is no row until the loader came by: a fact that follows a
restart at once would find neither. So the topic itself is read, from where the loader is: what lies before that is a
row, and what lies behind it is read here before anything is told. An owner of a partition has let go of it before the
next one polls, so the end of the topic, asked for after a poll, is behind all that was told of the polled records'
keys before.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Protocol
from uuid import UUID

from shared.broker.contract import Broker, Reader, Record, TopicPartition
from shared.errors import HeadraceError, InvalidEvent, TransientError
from shared.records import identity_of
from shared.topics import PREDICTIONS

LOADER = "loader"
POLL_S, POLL_RECORDS = 0.1, 2000
# A killed producer's transaction holds the topic back until the broker ends it; the loader waits for that, too.
MOST_EMPTY_POLLS = 50
# Some 1,000 a day are made with a shadow beside the live model: months.
REMEMBERED = 200_000


class Loaded(Protocol):
    def loaded(self, predictions: Sequence[UUID]) -> frozenset[UUID]:
        """Those of these predictions that are rows already."""
        ...


class Tail:
    """The end of the topic of predictions, read once and followed from then on. One thread."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._tps = tuple[TopicPartition, ...]()
        self._reader: Reader | None = None

    def news(self) -> list[UUID]:
        """Ids appended since the last call; in the first, since where the loader is. Raises TransientError."""
        try:
            return self._read(self._reader or self._open())
        except HeadraceError:
            self.close()
            raise

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()
        self._reader = None

    def _open(self) -> Reader:
        begins = self._broker.committed(LOADER, [PREDICTIONS])
        self._tps = tuple(begins)
        self._reader = self._broker.reader(self._tps)
        for tp, offset in begins.items():
            self._reader.seek(tp, offset)
        return self._reader

    def _read(self, reader: Reader) -> list[UUID]:
        ends = self._broker.end_offsets(self._tps)
        found: list[UUID] = []
        empty = 0
        while behind := [tp for tp, end in ends.items() if reader.position(tp) < end]:
            records = reader.poll(POLL_S, POLL_RECORDS)
            found += _ids(records)
            empty = 0 if records else empty + 1
            if empty > MOST_EMPTY_POLLS:
                raise TransientError(f"{behind[0].topic}/{behind[0].partition} cannot be read to its end")
        return found


class Once:
    """`is_new` of an id, for the records that led to it. One thread.

    An id that was told for a record is new for it again: its unit may have failed, and then it was not told.
    """

    def __init__(self, loaded: Loaded, tail: Tail | None) -> None:
        self._loaded = loaded
        self._tail = tail
        self._told: OrderedDict[UUID, tuple[str, ...]] = OrderedDict()

    def prepare(self, ids: Iterable[UUID]) -> None:
        """To be called with all that may be told, before `is_new`. Raises TransientError.

        The topic comes first: what was there and became a row meanwhile is found in the tables.
        """
        if not (unknown := [each for each in ids if each not in self._told]):
            return
        if self._tail is not None:
            self._note(self._tail.news())
        if unknown := [each for each in unknown if each not in self._told]:
            self._note(self._loaded.loaded(unknown))

    def is_new(self, event_id: UUID, inputs: tuple[str, ...]) -> bool:
        first = self._told.setdefault(event_id, inputs)
        while len(self._told) > REMEMBERED:
            self._told.popitem(last=False)
        return not set(first).isdisjoint(inputs)

    def _note(self, ids: Iterable[UUID]) -> None:
        """Our own, which come by in the topic too, keep the record that led to them."""
        for each in ids:
            self._told.setdefault(each, ())


def _ids(records: Sequence[Record]) -> list[UUID]:
    found = []
    for record in records:
        try:
            found.append(identity_of(record.headers)[0])
        except InvalidEvent:  # the loader makes a dead letter of it
            continue
    return found
