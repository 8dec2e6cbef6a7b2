"""Reads exactly the given offset ranges, without a group and without committing positions."""

from __future__ import annotations

from collections.abc import Container, Generator, Mapping
from contextlib import closing

from shared.broker.contract import Broker, Record, TopicPartition
from shared.errors import HeadraceError, TransientError

# Short, because a poll waits its full time if only transaction markers remain.
POLL_S = 0.1
BATCH = 2000
# Raise an error if the broker returns none of the records that it reports for this long.
STALL_LIMIT_S = 30.0


def read_range(
    broker: Broker, ranges: Mapping[TopicPartition, tuple[int, int]], finished: Container[TopicPartition] = ()
) -> Generator[list[Record], None, None]:
    """The records with offsets from begin to before end, in batches, in offset order within each partition.

    The caller may add partitions to `finished` during the iteration; it ends without waiting for the rest of them.
    Records that are gone at the start are left out; compare the begin offsets before, if they matter. Raises
    OffsetsGone if records vanish while they are read, TransientError if the broker does not return the records that it
    reports.
    """
    begins = broker.begin_offsets(list(ranges))
    starts = {tp: max(begin, begins[tp]) for tp, (begin, _) in ranges.items()}
    ends = {tp: end for tp, (_, end) in ranges.items() if starts[tp] < end}
    if not ends:
        return
    with closing(broker.reader(list(ends), complete=True)) as reader:
        for tp in ends:
            reader.seek(tp, starts[tp])
        idle_s = 0.0
        while any(tp not in finished and reader.position(tp) < end for tp, end in ends.items()):
            polled = reader.poll(POLL_S, BATCH)
            idle_s = 0.0 if polled else idle_s + POLL_S
            if idle_s > STALL_LIMIT_S:
                raise TransientError(f"the broker returned none of the records that it reports for {idle_s:.0f} s")
            yield [each for each in polled if each.offset < ends[TopicPartition(each.topic, each.partition)]]


class RecordsRemoved(HeadraceError):
    """Retention has removed records that were to be read; the message names the earliest available offsets."""


def require_available(broker: Broker, first_offsets: Mapping[TopicPartition, int]) -> None:
    """Raises RecordsRemoved if a partition begins after the wanted offset."""
    begins = broker.begin_offsets(list(first_offsets))
    if removed := sorted(tp for tp, offset in first_offsets.items() if begins[tp] > offset):
        earliest = ", ".join(f"{tp.topic}/{tp.partition}: {begins[tp]}" for tp in removed)
        raise RecordsRemoved(
            f"retention has removed records that were to be read; the earliest available offsets: {earliest}"
        )
