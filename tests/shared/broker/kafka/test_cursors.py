"""How long the cursors of a compacted topic may take to be read."""

from __future__ import annotations

import time

import pytest

from shared.broker.contract import Record, TopicPartition
from shared.broker.kafka.broker import read_cursors
from shared.errors import TransientError

TP = TopicPartition("cursors", 0)
STALL_LIMIT_S = 0.05
RECORDS = 20


class SlowReader:
    """Returns one record in each poll, up to `last`, and needs half of the limit for it."""

    def __init__(self, last: int) -> None:
        self._position = 0
        self._last = last

    def seek(self, tp: TopicPartition, offset: int) -> None:
        assert tp == TP
        self._position = offset

    def position(self, tp: TopicPartition) -> int:
        assert tp == TP
        return self._position

    def poll(self, timeout_s: float, max_records: int) -> list[Record]:
        assert timeout_s > 0
        assert max_records > 0
        time.sleep(STALL_LIMIT_S / 2)
        if self._position == self._last:
            return []
        self._position += 1
        return [Record(TP.topic, TP.partition, self._position - 1, 0, b"k%d" % self._position, b"v", {})]

    def close(self) -> None: ...


def test_a_slow_read_that_makes_progress_ends() -> None:
    cursors = read_cursors(SlowReader(RECORDS), TP, 0, RECORDS, STALL_LIMIT_S)

    assert len(cursors) == RECORDS


def test_a_read_without_progress_is_an_error_that_passes() -> None:
    with pytest.raises(TransientError, match="at offset 5 of 20"):
        read_cursors(SlowReader(5), TP, 0, RECORDS, STALL_LIMIT_S)
