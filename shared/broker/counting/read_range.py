"""Reads some offsets of some partitions, all of them and no more, without a group and without moving anything."""

from __future__ import annotations

from collections.abc import Container, Generator, Mapping
from contextlib import closing

from shared.broker.contract import Broker, Record, TopicPartition
from shared.errors import HeadraceError, TransientError

# Short: a poll waits its time out where only ends of transactions are left to pass.
POLL_S = 0.1
BATCH = 2000
# The broker has given nothing for so long of what it says it holds: whoever waits had better be told.
PATIENCE_S = 30.0


def sweep(
    broker: Broker, ranges: Mapping[TopicPartition, tuple[int, int]], enough: Container[TopicPartition] = ()
) -> Generator[list[Record], None, None]:
    """Records with offsets from begin to before end, in batches, each partition's in order.

    Partitions that the caller puts into `enough` meanwhile are not waited for. Raises TransientError when the broker
    does not give what it holds.
    """
    begins = broker.begin_offsets(list(ranges))
    starts = {tp: max(begin, begins[tp]) for tp, (begin, _) in ranges.items()}
    ends = {tp: end for tp, (_, end) in ranges.items() if starts[tp] < end}
    if not ends:
        return
    with closing(broker.reader(list(ends))) as reader:
        for tp in ends:
            reader.seek(tp, starts[tp])
        idle_s = 0.0
        while any(tp not in enough and reader.position(tp) < end for tp, end in ends.items()):
            polled = reader.poll(POLL_S, BATCH)
            idle_s = 0.0 if polled else idle_s + POLL_S
            if idle_s > PATIENCE_S:
                raise TransientError(f"the broker gave nothing of what it holds for {idle_s:.0f} s")
            yield [each for each in polled if each.offset < ends[TopicPartition(each.topic, each.partition)]]


class Cut(HeadraceError):
    """Records that were to be read are not there any more; names the earliest offsets that are."""


def require_there(broker: Broker, wanted: Mapping[TopicPartition, int]) -> None:
    """Raises Cut where the log begins after an offset that is wanted."""
    begins = broker.begin_offsets(list(wanted))
    if gone := sorted(tp for tp, offset in wanted.items() if begins[tp] > offset):
        earliest = ", ".join(f"{tp.topic}/{tp.partition}: {begins[tp]}" for tp in gone)
        raise Cut(f"retention has cut what was to be read; the earliest offsets there are: {earliest}")
