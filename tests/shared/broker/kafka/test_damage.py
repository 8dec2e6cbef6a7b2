"""A batch on Kafka's disk whose bytes have changed: only its partition is held, until an operator skips it."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.broker.contract import Broker, TopicPartition
from shared.broker.kafka.damage import first_readable
from shared.ops.holds import Hold
from shared.ops.orders import Orders
from shared.runtime.control.mailbox import ControlMailbox
from shared.runtime.loops.handler import InUnit
from shared.topics import CLEAN
from tests.either_broker import records_of, run_broker
from tests.kafka.use import KafkaInUse
from tests.shared.runtime.loop_harness import append, raw, run_in_thread, tp_of
from tests.shared.runtime.loops.consumer_loops import KEYS, copy, loop_of
from tests.waiting import wait_until

pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
TP = tp_of(KEYS[0])


@given(begin=st.integers(0, 50), length=st.integers(1, 3000), after=st.integers(0, 3000))
def test_the_end_of_the_damage_is_found(begin: int, length: int, after: int) -> None:
    reads: list[int] = []

    def is_readable(offset: int) -> bool:
        reads.append(offset)
        return offset >= begin + length

    assert first_readable(is_readable, begin, begin + length + after) == begin + length
    assert len(reads) <= 2 * length.bit_length() + 2


@pytest.fixture(params=["kafka"])
def broker(request: pytest.FixtureRequest, database_url: str) -> Iterator[Broker]:
    with run_broker(request, database_url) as open_broker:
        yield open_broker()


def damage(kafka: KafkaInUse, tp: TopicPartition, number: int) -> int:
    """Change the last byte of the partition's batch with this number (from 0, markers not counted); returns its first
    offset."""
    directory = kafka.require_own()._properties.parent / "data"
    (segment,) = directory.rglob(f"{tp.topic}-{tp.partition}/*.log")
    return _flip(segment, number)


def _flip(segment: Path, number: int) -> int:
    content, position, batches = segment.read_bytes(), 0, []
    while position < len(content):
        base_offset, length = struct.unpack_from(">qi", content, position)
        (attributes,) = struct.unpack_from(">h", content, position + 21)
        if not attributes & 0x20:  # no transaction marker
            batches.append((base_offset, position + 12 + length - 1))
        position += 12 + length
    base_offset, last = batches[number]
    with segment.open("r+b") as file:
        file.seek(last)
        file.write(bytes([content[last] ^ 0xFF]))
    return int(base_offset)


def test_a_damaged_batch_holds_only_its_partition_until_it_is_skipped(kafka: KafkaInUse, broker: Broker) -> None:
    for number in range(4):
        append(broker, [raw(3 * number + each, key) for key in KEYS for each in range(3)])
    offset = damage(kafka, TP, 2)
    mailbox = ControlMailbox()
    mailbox.set_orders(Orders(), float("inf"))
    loop = loop_of(broker, handler=InUnit(copy), mailbox=mailbox)

    with run_in_thread(loop) as thread:
        wait_until(lambda: loop.state == "tripped")
        append(broker, [raw(12, KEYS[1])])
        wait_until(lambda: len(records_of(broker, CLEAN)) == 6 + 13)
        (hold,) = mailbox.holds()
        assert (hold.tp, hold.kind, hold.cause["end"]) == (TP, "damaged", offset + 3)
        decided = Hold(hold.tp, hold.kind, hold.cause, hold.seq, hold.at, continue_at=hold.cause["end"])
        mailbox.set_orders(Orders(), float("inf"), [decided], mailbox.hold_changes())
        wait_until(lambda: len(records_of(broker, CLEAN)) == 6 + 13 + 3)
        assert thread.error is None
