"""Finds the record that kills the process, by smaller and smaller batches, and makes it a dead letter.

A crash of the interpreter, the kernel's out-of-memory killer or the watchdog leave no time to handle an error. The next
process finds the note of its predecessor. It handles smaller batches, and notes each one before it handles it, until
the record is alone in its batch. After a given number of deaths the record is not handled any more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from shared.broker.contract import Record, TopicPartition
from shared.errors import InvalidEvent
from shared.runtime.dead_letters.letter import FailedRecord

# The deaths after which a record is quarantined, unless a setting says otherwise.
MAX_DEATHS = 3


class ProcessEnded(InvalidEvent):
    """The record ended the process each time that it was handled."""


class Notes(Protocol):
    """See shared/runtime/control/attempts.py."""

    def take(self, offsets: Mapping[TopicPartition, int]) -> Mapping[TopicPartition, int] | None: ...

    def note(self, offsets: Mapping[TopicPartition, int | None]) -> None: ...

    def clear(self, tps: Collection[TopicPartition]) -> None: ...

    def release(self, tps: Collection[TopicPartition]) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class _Suspect:
    """A partition at which processes were killed. The culprit is among its next `left` records."""

    deaths: int
    left: int


class Quarantine:
    """Used by the loop's thread. Call `before_poll`; after the poll `is_too_large` and, if it is not, `begin`; then
    `commit` or `abort`."""

    def __init__(self, notes: Notes | None = None, max_deaths: int = MAX_DEATHS, max_records: int = 2000) -> None:
        """Without `notes` nothing is quarantined."""
        self._notes = notes
        self._max_deaths = max_deaths
        self._max_records = max_records
        self._partitions: frozenset[TopicPartition] = frozenset()
        self._suspects: dict[TopicPartition, _Suspect] = {}
        self._noted: frozenset[TopicPartition] = frozenset()

    def before_poll(self, owned: frozenset[TopicPartition]) -> int:
        """The number of records to poll. Partitions that are no longer owned are released."""
        if self._notes is not None and (gone := self._partitions - owned):
            self._notes.release(gone)
            self._partitions -= gone
            self._suspects = {tp: each for tp, each in self._suspects.items() if tp not in gone}
        return self._batch_limit()

    def is_too_large(self, records: Sequence[Record]) -> bool:
        """Whether the records must be polled again in a smaller batch, because of what is known of new partitions."""
        if self._notes is None:
            return False
        new = {tp: offset for tp, offset in _first_offsets(records).items() if tp not in self._partitions}
        if new and (deaths := self._notes.take(new)) is not None:
            self._partitions |= new.keys()
            self._suspects |= {tp: _Suspect(each, self._limit(each - 1)) for tp, each in deaths.items() if each}
        return bool(self._suspects) and len(records) > self._batch_limit()

    def begin(self, records: Sequence[Record]) -> list[FailedRecord]:
        """Note the batch; returns the records that must not be handled, in their order."""
        if self._notes is None or not self._suspects:
            return []
        firsts = {tp: offset for tp, offset in _first_offsets(records).items() if tp in self._suspects}
        if firsts:
            self._notes.note(firsts)
            self._noted |= firsts.keys()
        return [
            FailedRecord(record, ProcessEnded(f"ended the process {deaths} times"), "handle", deaths)
            for record in records
            if firsts.get(tp := _tp_of(record)) == record.offset
            and (deaths := self._suspects[tp].deaths) >= self._max_deaths
        ]

    def commit(self, records: Sequence[Record]) -> None:
        """The unit of these records was committed."""
        if self._notes is None or not self._suspects:
            return
        counts = Counter(map(_tp_of, records))
        cleared = set()
        for tp, suspect in list(self._suspects.items()):
            left = suspect.left - counts[tp]
            if left <= 0 or (counts[tp] and suspect.deaths >= self._max_deaths):
                cleared.add(tp)
                del self._suspects[tp]
            else:
                self._suspects[tp] = _Suspect(suspect.deaths, left)
        if cleared:
            self._notes.clear(cleared)
            self._noted -= cleared

    def abort(self) -> None:
        """The unit failed without killing the process: a kill from now on is not the fault of its records."""
        if self._notes is not None and self._noted:
            self._notes.note(dict.fromkeys(self._noted))
            self._noted = frozenset()

    def close(self) -> None:
        """The process ends without being killed."""
        if self._notes is not None:
            if self._partitions:
                self._notes.release(self._partitions)
            self._notes.close()

    def _batch_limit(self) -> int:
        return min((self._limit(each.deaths) for each in self._suspects.values()), default=self._max_records)

    def _limit(self, deaths: int) -> int:
        return batch_limit(self._max_records, deaths, self._max_deaths)


def batch_limit(max_records: int, deaths: int, max_deaths: int) -> int:
    """The batch's size after some deaths: from all records to one, by the same factor each time. The attempt before the
    last death that is allowed has one record."""
    if deaths >= max_deaths - 1:
        return 1
    share: float = max_records ** (1 - deaths / (max_deaths - 1))
    return max(1, round(share))


def _first_offsets(records: Sequence[Record]) -> dict[TopicPartition, int]:
    return {_tp_of(record): record.offset for record in reversed(records)}


def _tp_of(record: Record) -> TopicPartition:
    return TopicPartition(record.topic, record.partition)
