"""A budget for dead letters: where too many records of a partition fail, close together, it is held back.

Whatever they fail of. Unexpected errors are a bug of ours; wrong records, so many at once, are a source that changed:
either way good data would become dead letters, and a person has to look first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from shared.broker.contract import Record, TopicPartition
from shared.errors import HeadraceError
from shared.runtime.dead_letters.letter import Failed, message_of
from shared.topics import RETRIES

# More failures than MOST among any LAST records of a partition in a row are beyond the budget: 20 %.
MOST = 20
LAST = 100


class Tripped(HeadraceError):
    """A partition that is beyond its budget: the unit must not be, and the partition must wait for a person."""

    def __init__(self, tp: TopicPartition, cause: str) -> None:
        super().__init__(cause)
        self.tp = tp


@dataclass
class _Memory:
    """Per partition: how its last records went (oldest first, True: failed), nothing where none failed; and how many
    failures may still come that do not count."""

    recent: Mapping[TopicPartition, Sequence[bool]] = field(default_factory=dict)
    tolerated: Mapping[TopicPartition, int] = field(default_factory=dict)


class Breaker:
    """What it remembers is of committed units."""

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
        """A person has looked: what failed is forgotten, and the next `tolerate` failures do not count."""
        recent = {each: went for each, went in self._memory.recent.items() if each != tp}
        others = {each: n for each, n in self._memory.tolerated.items() if each != tp}
        self._memory = _Memory(recent, others | ({tp: tolerate} if tolerate > 0 else {}))


class Trial:
    """One batch after what went before it; of a unit that fails, nothing is kept, for its records come again."""

    def __init__(self, service: str, before: _Memory, records: Sequence[Record]) -> None:
        self.noted = False
        self.tolerated: dict[TopicPartition, int] = {}
        self._service = service
        self._before = before
        self._records = records
        self._place: dict[tuple[TopicPartition, int], int] = {}

    @cached_property
    def went(self) -> dict[TopicPartition, list[bool]]:
        """Per partition, oldest first; True is a failure that counts."""
        went: dict[TopicPartition, list[bool]] = {}
        for record in self._records:
            tp = TopicPartition(record.topic, record.partition)
            if tp not in went:
                went[tp] = list(self._before.recent.get(tp, ()))
            self._place[tp, record.offset] = len(went[tp])
            went[tp].append(False)
        return went

    def note(self, failed: Failed) -> None:
        """To be told of a partition's failures in their order. Raises Tripped when they are too many.

        What was sent to be tried again has been a dead letter before: it has no budget, the redrive that sent it is
        bounded itself.
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
            f"{record.topic}/{record.partition} is held back before it fills the dead letters: {count} of the last"
            f" {of} records failed ({MOST} of {LAST} may), at offset {record.offset}"
            f" {type(error).__name__}: {message_of(error)}. Mend what is wrong and say"
            f" `headrace resume {self._service} {record.topic}`; with --tolerate N, the next N failures of each"
            " partition become dead letters all the same"
        )
