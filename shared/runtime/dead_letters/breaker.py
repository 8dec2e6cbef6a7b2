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
from shared.runtime.dead_letters.letter import FailedRecord, message_of
from shared.topics import RETRY_TOPICS

# The breaker trips at more than MAX_FAILURES failures among the last WINDOW_RECORDS records of a partition (20 %).
MAX_FAILURES = 20
WINDOW_RECORDS = 100


class Tripped(HeadraceError):
    """Too many records of a partition failed: the unit must be aborted, and the partition held until an operator
    resumes it."""

    def __init__(self, tp: TopicPartition, cause: str) -> None:
        super().__init__(cause)
        self.tp = tp


@dataclass
class _BatchHistory:
    """Per partition: the outcomes of its last records (oldest first, True: failed), absent if none failed; and how many
    more failures are tolerated, i.e. do not count."""

    recent_outcomes: Mapping[TopicPartition, Sequence[bool]] = field(default_factory=dict)
    remaining_tolerance: Mapping[TopicPartition, int] = field(default_factory=dict)


class Breaker:
    """Counts failures over committed units."""

    def __init__(self, service: str = "SERVICE") -> None:
        self._service = service
        self._history = _BatchHistory()

    def begin_batch(self, records: Sequence[Record]) -> BatchFailures:
        return BatchFailures(self._service, self._history, records)

    def commit(self, failures: BatchFailures) -> None:
        """The unit of this trial was committed."""
        memory = self._history
        if not memory.recent_outcomes and not failures.has_failures:
            return  # as nearly always: nothing to remember, and nothing to look through the records for
        last = {tp: went[-WINDOW_RECORDS:] for tp, went in failures.outcomes.items()}
        outcomes = {**memory.recent_outcomes, **last}
        left = {**memory.remaining_tolerance, **failures.remaining_tolerance}
        self._history = _BatchHistory(
            {tp: went for tp, went in outcomes.items() if any(went)}, {tp: n for tp, n in left.items() if n > 0}
        )

    def release(self, tp: TopicPartition, tolerate: int = 0) -> None:
        """Reset a partition after an operator's resume: past failures are forgotten, and the next `tolerate` failures
        do not count."""
        recent = {each: went for each, went in self._history.recent_outcomes.items() if each != tp}
        others = {each: n for each, n in self._history.remaining_tolerance.items() if each != tp}
        self._history = _BatchHistory(recent, others | ({tp: tolerate} if tolerate > 0 else {}))


class BatchFailures:
    """The failures of one uncommitted batch. Discarded if the unit fails, because its records are redelivered."""

    def __init__(self, service: str, history: _BatchHistory, records: Sequence[Record]) -> None:
        self.has_failures = False
        self.remaining_tolerance: dict[TopicPartition, int] = {}
        self._service = service
        self._history = history
        self._records = records
        self._index: dict[tuple[TopicPartition, int], int] = {}

    @cached_property
    def outcomes(self) -> dict[TopicPartition, list[bool]]:
        """The outcomes per partition, oldest first, earlier batches included. True: a failure that counts."""
        outcomes: dict[TopicPartition, list[bool]] = {}
        for record in self._records:
            tp = TopicPartition(record.topic, record.partition)
            if tp not in outcomes:
                outcomes[tp] = list(self._history.recent_outcomes.get(tp, ()))
            self._index[tp, record.offset] = len(outcomes[tp])
            outcomes[tp].append(False)
        return outcomes

    def record_failure(self, failed: FailedRecord) -> None:
        """Count a failed record. Call it in order within each partition. Raises Tripped if there are too many.

        Records of a retry topic do not count: they were dead letters before, and redrives have limits of their own.
        """
        tp = TopicPartition(failed.record.topic, failed.record.partition)
        if tp.topic in RETRY_TOPICS:
            return
        self.has_failures = True
        if left := self.remaining_tolerance.get(tp, self._history.remaining_tolerance.get(tp, 0)):
            self.remaining_tolerance[tp] = left - 1
            return
        outcomes = self.outcomes[tp]
        index = self._index[tp, failed.record.offset]
        outcomes[index] = True
        last = outcomes[max(0, index + 1 - WINDOW_RECORDS) : index + 1]
        if sum(last) > MAX_FAILURES:
            raise Tripped(tp, self._cause(failed, sum(last), len(last))) from failed.error

    def _cause(self, failed: FailedRecord, count: int, of: int) -> str:
        record, error = failed.record, failed.error
        return (
            f"{record.topic}/{record.partition} is held back because too many records failed: {count} of the last"
            f" {of} (limit: {MAX_FAILURES} of {WINDOW_RECORDS}), most recently offset {record.offset} with"
            f" {type(error).__name__}: {message_of(error)}. Fix the cause, then run"
            f" `headrace resume {self._service} {record.topic}`; with --tolerate N, the next N failures of each"
            " partition become dead letters without counting"
        )
