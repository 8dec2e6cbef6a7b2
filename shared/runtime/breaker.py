"""Tells bad data from a bug of ours: many records that fail unexpectedly, close together, are a bug. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

from shared.broker.contract import Record, TopicPartition
from shared.errors import HeadraceError, InvalidEvent
from shared.runtime.batch import Failed
from shared.runtime.dead_letters import message_of

# More unexpected errors than MOST among any LAST records of a partition in a row: hold the partition back, do not fill
# the dead letters with good records.
MOST = 20
LAST = 100


class Tripped(HeadraceError):
    """A partition whose records show a bug of ours: the unit must not be, and the partition must wait for a person."""

    def __init__(self, tp: TopicPartition, cause: str) -> None:
        super().__init__(cause)
        self.tp = tp


class Breaker:
    """How the last records of each partition went, up to the last committed unit; nothing of those without failures."""

    def __init__(self) -> None:
        self._recent: dict[TopicPartition, list[bool]] = {}

    def trial(self, records: Sequence[Record]) -> Trial:
        return Trial(self._recent, records)

    def keep(self, trial: Trial) -> None:
        """The unit of this trial was committed."""
        if not self._recent and not trial.noted:
            return  # as nearly always: nothing to remember, and nothing to look through the records for
        last = {tp: went[-LAST:] for tp, went in trial.went.items()}
        kept = {**self._recent, **last}
        self._recent = {tp: went for tp, went in kept.items() if any(went)}


class Trial:
    """One batch after what went before it; of a unit that fails, nothing is kept, for its records come again."""

    def __init__(self, recent: Mapping[TopicPartition, Sequence[bool]], records: Sequence[Record]) -> None:
        self.noted = False
        self._recent = recent
        self._records = records
        self._place: dict[tuple[TopicPartition, int], int] = {}

    @cached_property
    def went(self) -> dict[TopicPartition, list[bool]]:
        """Per partition, oldest first; True is an unexpected failure."""
        went: dict[TopicPartition, list[bool]] = {}
        for record in self._records:
            tp = TopicPartition(record.topic, record.partition)
            if tp not in went:
                went[tp] = list(self._recent.get(tp, ()))
            self._place[tp, record.offset] = len(went[tp])
            went[tp].append(False)
        return went

    def note(self, failed: Failed) -> None:
        """To be told of a partition's failures in their order. Raises Tripped when they are too many."""
        if isinstance(failed.error, InvalidEvent):
            return
        self.noted = True
        tp = TopicPartition(failed.record.topic, failed.record.partition)
        went = self.went[tp]
        place = self._place[tp, failed.record.offset]
        went[place] = True
        last = went[max(0, place + 1 - LAST) : place + 1]
        if sum(last) > MOST:
            raise Tripped(
                tp,
                f"{tp.topic}/{tp.partition} is held back before good records become dead letters: {sum(last)} of"
                f" {len(last)} in a row failed in an unexpected way, at offset {failed.record.offset}"
                f" {type(failed.error).__name__}: {message_of(failed.error)}",
            ) from failed.error
