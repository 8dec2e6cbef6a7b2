"""Finds the damaged batch after the client has found a wrong checksum."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any

from kafka import errors

from shared.broker.contract import Damaged, TopicPartition
from shared.broker.kafka.reader import KafkaReader
from shared.errors import HeadraceError, TransientError

# The client names the partition in the text of its error only.
_PLACE = re.compile(r"TopicPartition\(topic='([^']+)', partition=(\d+)\)")
# An offset at which nothing is returned for this long is readable: it is after the last record.
_POLL_S = 2.0


def damage_of(
    error: errors.CorruptRecordError,
    settings: Mapping[str, Any],
    position_of: Callable[[TopicPartition], int],
    end_of: Callable[[TopicPartition], int],
) -> HeadraceError:
    """The error to raise. `settings`: of a client, to read the partition without a group."""
    match = _PLACE.search(str(error))
    if match is None:
        return TransientError(f"Kafka returned a record with a wrong checksum: {error}")
    tp = TopicPartition(match[1], int(match[2]))
    position = position_of(tp)
    with closing(KafkaReader(settings, [tp])) as reader:
        end = first_readable(lambda offset: _is_readable(reader, tp, offset), position, end_of(tp))
    return Damaged(tp, position, end, str(error))


def first_readable(is_readable: Callable[[int], bool], damaged: int, log_end: int) -> int:
    """The offset after the damaged batch that holds the offset `damaged`; at most `log_end`. Reading from anywhere in a
    damaged batch fails. Takes about two reads for each doubling of the batch's length."""
    step = 1
    while damaged + step < log_end and not is_readable(damaged + step):
        damaged, step = damaged + step, 2 * step
    readable = min(damaged + step, log_end)
    while readable - damaged > 1:
        middle = (damaged + readable) // 2
        if is_readable(middle):
            readable = middle
        else:
            damaged = middle
    return readable


def _is_readable(reader: KafkaReader, tp: TopicPartition, offset: int) -> bool:
    reader.seek(tp, offset)
    try:
        reader.poll(_POLL_S, 1)
    except errors.CorruptRecordError:
        return False
    return True
