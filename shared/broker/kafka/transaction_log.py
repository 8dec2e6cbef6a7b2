"""Reads the records of `__transaction_state`, in which coordinators record the states of transactions.

Kafka's own message definitions describe them: TransactionLogKey 0, TransactionLogValue 0 and 1. Version 1 has compact
lengths, and tagged fields at the end of each structure.
"""

from __future__ import annotations

import struct
from typing import get_args

from shared.broker.contract import TopicPartition
from shared.broker.hanging import RecordedState, State

TRANSACTION_LOG = "__transaction_state"
GROUP_LOG = "__consumer_offsets"
_STATES: tuple[State, ...] = get_args(State)  # in the order of their numbers


def partition_in_log(name: str, partitions: int) -> int:
    """The partition of an internal topic that has the records of a group or of a transactional id: the hash code of
    the name in Java."""
    code = 0
    for (unit,) in struct.iter_unpack(">H", name.encode("utf-16-be")):
        code = (31 * code + unit) & 0xFFFFFFFF
    return (0 if code == 0x80000000 else min(code, 0x100000000 - code)) % partitions


def transactional_id_of(key: bytes) -> str | None:
    """None for a key of an unknown version."""
    version, length = struct.unpack_from(">hh", key)
    return key[4 : 4 + length].decode() if version == 0 else None


def recorded_state(value: bytes) -> RecordedState:
    """Raises ValueError for a value of an unknown version."""
    fields = _Fields(value)
    version = fields.number(">h")
    if version not in (0, 1):
        raise ValueError(f"{TRANSACTION_LOG} has records of version {version}, expected 0 or 1")
    fields.is_compact = version == 1
    producer_id, epoch = fields.number(">q"), fields.number(">h")
    fields.number(">i")  # the time-out
    state = _STATES[fields.number(">b")]
    partitions = frozenset(tp for _ in range(fields.length(4)) for tp in fields.topic())
    return RecordedState(producer_id, epoch, state, partitions, fields.number(">q"))


class _Fields:
    """The fields of a message, one after the other."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self.is_compact = False

    def number(self, layout: str) -> int:
        (value,) = struct.unpack_from(layout, self._data, self._at)
        self._at += struct.calcsize(layout)
        return int(value)

    def length(self, size: int) -> int:
        """Of an array (`size` 4) or a text (2). Null has none."""
        return max(0, self._varint() - 1 if self.is_compact else self.number(">i" if size == 4 else ">h"))

    def topic(self) -> list[TopicPartition]:
        length = self.length(2)
        name = self._data[self._at : self._at + length].decode()
        self._at += length
        partitions = [TopicPartition(name, self.number(">i")) for _ in range(self.length(4))]
        if self.is_compact:
            for _ in range(self._varint()):  # tagged fields
                self._varint()
                size = self._varint()
                self._at += size
        return partitions

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self.number(">B")
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
