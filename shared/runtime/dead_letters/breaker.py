"""Limits dead letters: if too many records of a partition fail close together, the partition is held back.

The kind of error does not matter. Many unexpected errors point to a bug, many invalid records to a source that changed
its format. In both cases good data would become dead letters, so an operator has to look first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from shared.broker.contract import Record, TopicPartition
from shared.errors import HeadraceError
from shared.runtime.dead_letters.letter import Failed, message_of
from shared.topics import RETRIES

# The breaker trips at more than MAX_FAILURES failures among the last WINDOW_RECORDS records of a partition (20 %).
MOST = 20
LAST = 100


class Tripped(HeadraceError):
    """Too many records of a partition failed: the unit must be aborted, and the partition held until an operator
    resumes it."""

    def __init__(self, tp: TopicPartition, cause: str) -> None:
        super().__init__(cause)
        self.tp = tp


@dataclass
class _Memory:
    """Per partition: the outcomes of its last records (oldest first, True: failed), absent if none failed; and how many
    more failures are tolerated, i.e. do not count."""

    recent: Mapping[TopicPartition, Sequence[bool]] = field(default_factory=dict)
    tolerated: Mapping[TopicPartition, int] = field(default_factory=dict)


class Breaker:
    """Counts failures over committed units."""

    def __init__(self, service: str = "SERVICE") -> None:
        self._service = service
        self._memory = _Memory()

    def trial(self, records: Sequence[Record]) -> Trial:
        return Trial(self._service, self._memory, records)

    def keep(self, trial: Trial) -> None:
        """The unit of this trial was committed."""
        memory = self._memory
        if not memory.recent and not trial.noted:
            return  # as nearly always: nothing to remember, and nothing to look through the records for
        last = {tp: went[-LAST:] for tp, went in trial.went.items()}
        kept = {**memory.recent, **last}
        left = {**memory.tolerated, **trial.tolerated}
        self._memory = _Memory(
            {tp: went for tp, went in kept.items() if any(went)}, {tp: n for tp, n in left.items() if n > 0}
        )

    def release(self, tp: TopicPartition, tolerate: int = 0) -> None:
        """Reset a partition after an operator's resume: past failures are forgotten, and the next `tolerate` failures
        do not count."""
        recent = {each: went for each, went in self._memory.recent.items() if each != tp}
        others = {each: n for each, n in self._memory.tolerated.items() if each != tp}
        self._memory = _Memory(recent, others | ({tp: tolerate} if tolerate > 0 else {}))


class Trial:
    """The failures of one uncommitted batch. Discarded if the unit fails, because its records are redelivered."""

    def __init__(self, service: str, before: _Memory, records: Sequence[Record]) -> None:
        self.noted = False
        self.tolerated: dict[TopicPartition, int] = {}
        self._service = service
        self._before = before
        self._records = records
        self._place: dict[tuple[TopicPartition, int], int] = {}

    @cached_property
    def went(self) -> dict[TopicPartition, list[bool]]:
        """The outcomes per partition, oldest first, earlier batches included. True: a failure that counts."""
        went: dict[TopicPartition, list[bool]] = {}
        for record in self._records:
            tp = TopicPartition(record.topic, record.partition)
            if tp not in went:
                went[tp] = list(self._before.recent.get(tp, ()))
            self._place[tp, record.offset] = len(went[tp])
            went[tp].append(False)
        return went

    def note(self, failed: Failed) -> None:
        """Count a failed record. Call it in order within each partition. Raises Tripped if there are too many.

        Records of a retry topic do not count: they were dead letters before, and redrives have limits of their own.
        """
        tp = TopicPartition(failed.record.topic, failed.record.partition)
        if tp.topic in RETRIES:
            return
        self.noted = True
        if left := self.tolerated.get(tp, self._before.tolerated.get(tp, 0)):
            self.tolerated[tp] = left - 1
            return
        went = self.went[tp]
        place = self._place[tp, failed.record.offset]
        went[place] = True
        last = went[max(0, place + 1 - LAST) : place + 1]
        if sum(last) > MOST:
            raise Tripped(tp, self._cause(failed, sum(last), len(last))) from failed.error

    def _cause(self, failed: Failed, count: int, of: int) -> str:
        record, error = failed.record, failed.error
        return (
            f"{record.topic}/{record.partition} is held back because too many records failed: {count} of the last"
            f" {of} (limit: {MOST} of {LAST}), most recently offset {record.offset} with"
            f" {type(error).__name__}: {message_of(error)}. Fix the cause, then run"
            f" `headrace resume {self._service} {record.topic}`; with --tolerate N, the next N failures of each"
            " partition become dead letters without counting"
        )
