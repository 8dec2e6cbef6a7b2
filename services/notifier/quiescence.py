"""Whether everything that was under way at some moment has come to rest in the tables. Asks the broker, moves nothing.

A summary is about what many records say, and several loaders bring them, each at its own speed: that all that is in
the tables is over does not mean that all is in the tables. What is told once must wait for the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing

from shared.broker.contract import Broker, TopicPartition
from shared.topics import CLEAN, LOADED, PREDICTIONS, RAW

WAY = ((RAW, "cleaner"), (CLEAN, "loader"), (LOADED, "predictor"), (PREDICTIONS, "loader"))
"""Topics and who has to have read them, in the order in which records pass."""

# Where only ends of transactions are left, a poll waits its time out; the reader's position tells that they are passed.
LOOK_S = 0.1
LOOKS = 20


class Tide:
    """Goes along the way hop by hop: the end of a topic is looked up when all that was before it has arrived."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._left = list(WAY)
        self._ends: dict[TopicPartition, int] = {}

    def is_out(self) -> bool:
        """Whether all has passed; asked again and again. Raises TransientError while the broker is away."""
        while self._left:
            topic, reader = self._left[0]
            self._ends = self._ends or self._broker.end_offsets(self._broker.partitions(topic))
            done = self._broker.committed(reader, [topic])
            behind = {tp: done[tp] for tp, end in self._ends.items() if done[tp] < end}
            if behind and self._holds(behind):
                return False
            del self._left[0]
            self._ends = {}
        return True

    def _holds(self, begins: Mapping[TopicPartition, int]) -> bool:
        """Whether there is a record before the end: on Kafka, ends of transactions take offsets too."""
        with closing(self._broker.reader(list(begins))) as reader:
            for tp, begin in begins.items():
                reader.seek(tp, begin)
            for _ in range(LOOKS):
                found = reader.poll(LOOK_S, 1)
                if any(each.offset < self._ends[TopicPartition(each.topic, each.partition)] for each in found):
                    return True
                if all(reader.position(tp) >= self._ends[tp] for tp in begins):
                    return False
        return True
