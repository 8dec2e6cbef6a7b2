"""Finds which predictions exist already: sent by this process, in the topic, or in the tables.

After a restart, a prediction may exist only in the topic, not yet in the tables. The topic is therefore read from the
loader's position to its end before predicting; what lies before the loader's position is in the tables. The previous
owner of a partition has released it before the next one polls. The end of the topic, read after a poll, is therefore
behind all earlier predictions for the keys of the polled records.
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
# The open transaction of a killed producer blocks readers until the broker aborts it; the loader waits for that, too.
MAX_EMPTY_POLLS = 50
# With a shadow beside the live model, some 1,000 predictions a day are made: this covers months.
MAX_REMEMBERED = 200_000


class LoadedPredictions(Protocol):
    def loaded(self, predictions: Sequence[UUID]) -> frozenset[UUID]:
        """The ids of those of these predictions that are rows already."""
        ...


class TopicTail:
    """Reads the predictions topic from the loader's position and follows it. For one thread."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._tps = tuple[TopicPartition, ...]()
        self._reader: Reader | None = None

    def new_ids(self) -> list[UUID]:
        """Ids appended since the last call; at the first call, since the loader's position. Raises TransientError."""
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
        positions = self._broker.committed(LOADER, [PREDICTIONS])
        self._tps = tuple(positions)
        self._reader = self._broker.reader(self._tps)
        for tp, offset in positions.items():
            self._reader.seek(tp, offset)
        return self._reader

    def _read(self, reader: Reader) -> list[UUID]:
        ends = self._broker.end_offsets(self._tps)
        ids: list[UUID] = []
        empty = 0
        while unread := [tp for tp, end in ends.items() if reader.position(tp) < end]:
            records = reader.poll(POLL_S, POLL_RECORDS)
            ids += _ids(records)
            empty = 0 if records else empty + 1
            if empty > MAX_EMPTY_POLLS:
                raise TransientError(
                    f"{unread[0].topic}/{unread[0].partition} cannot be read to its end at offset {ends[unread[0]]}:"
                    f" stopped at {reader.position(unread[0])} after {empty} empty polls"
                )
        return ids


class SentPredictions:
    """The ids of predictions that exist already. For one thread.

    An id that was returned as new for a record is new for that record again: if the record's unit failed, the
    prediction was not sent.
    """

    def __init__(self, loaded: LoadedPredictions, tail: TopicTail | None) -> None:
        self._loaded = loaded
        self._tail = tail
        self._sent: OrderedDict[UUID, tuple[str, ...]] = OrderedDict()

    def prepare(self, ids: Iterable[UUID]) -> None:
        """Call with all ids that may be sent, before `is_new`. Raises TransientError.

        Reads the topic before the tables: a prediction that is loaded in between is then found in the tables.
        """
        if not (unknown := [each for each in ids if each not in self._sent]):
            return
        if self._tail is not None:
            self._add(self._tail.new_ids())
        if unknown := [each for each in unknown if each not in self._sent]:
            self._add(self._loaded.loaded(unknown))

    def is_new(self, event_id: UUID, inputs: tuple[str, ...]) -> bool:
        first = self._sent.setdefault(event_id, inputs)
        while len(self._sent) > MAX_REMEMBERED:
            self._sent.popitem(last=False)
        return not set(first).isdisjoint(inputs)

    def _add(self, ids: Iterable[UUID]) -> None:
        """Ids of this process also arrive from the topic; they keep the record that led to them."""
        for each in ids:
            self._sent.setdefault(each, ())


def _ids(records: Sequence[Record]) -> list[UUID]:
    ids = []
    for record in records:
        try:
            ids.append(identity_of(record.headers)[0])
        except InvalidEvent:  # the loader turns it into a dead letter
            continue
    return ids
