"""Tells whether all records that were in the pipeline at some moment have been loaded into the tables.

A summary covers many records, which several loaders write at different speeds. That all events in the tables have ended
does not mean that all events are in the tables. A summary is sent only once, so it must wait for the rest. The broker's
positions are read, not changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing

from shared.broker.contract import Broker, TopicPartition
from shared.topics import CLEAN, LOADED, PREDICTIONS, RAW

STAGES = ((RAW, "cleaner"), (CLEAN, "loader"), (LOADED, "predictor"), (PREDICTIONS, "loader"))
"""Topics and the service that must have read each, in the order in which records pass them."""

# If only transaction markers are left, a poll returns nothing before its timeout; the reader's position has then passed
# them.
POLL_TIMEOUT_S = 0.1
MAX_POLLS = 20


class PipelineDrain:
    """Checks the stages one by one: a topic's end is read when all records of the stage before have been processed."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._remaining_stages = list(STAGES)
        self._ends: dict[TopicPartition, int] = {}

    def is_drained(self) -> bool:
        """Whether all records have been loaded. Call repeatedly. Raises TransientError if the broker is unavailable."""
        while self._remaining_stages:
            topic, reader = self._remaining_stages[0]
            self._ends = self._ends or self._broker.end_offsets(self._broker.partitions(topic))
            committed = self._broker.committed(reader, [topic])
            behind = {tp: committed[tp] for tp, end in self._ends.items() if committed[tp] < end}
            if behind and self._has_records(behind):
                return False
            del self._remaining_stages[0]
            self._ends = {}
        return True

    def _has_records(self, positions: Mapping[TopicPartition, int]) -> bool:
        """Whether there is a record before the end. On Kafka, transaction markers take up offsets too."""
        with closing(self._broker.reader(list(positions))) as reader:
            for tp, begin in positions.items():
                reader.seek(tp, begin)
            for _ in range(MAX_POLLS):
                records = reader.poll(POLL_TIMEOUT_S, 1)
                if any(each.offset < self._ends[TopicPartition(each.topic, each.partition)] for each in records):
                    return True
                if all(reader.position(tp) >= self._ends[tp] for tp in positions):
                    return False
        return True
