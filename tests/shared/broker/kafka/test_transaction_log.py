"""Records of `__transaction_state`, as Kafka's message definitions describe them."""

from __future__ import annotations

import struct

import pytest

from shared.broker.contract import TopicPartition
from shared.broker.hanging import RecordedState
from shared.broker.kafka.transaction_log import partition_in_log, recorded_state, transactional_id_of

PARTITIONS = [TopicPartition("in", 2), TopicPartition("in", 5), TopicPartition("out-topic", 0)]
# Version, producer id, epoch, time-out, state; then the partitions and two times.
HEAD = struct.Struct(">hqhib")
TIMES = struct.pack(">qq", 1_700_000_000_123, 1_700_000_000_100)
EXPECTED = RecordedState(7, 3, "PrepareCommit", frozenset(PARTITIONS), 1_700_000_000_123)


def test_version_0() -> None:
    topics = (
        struct.pack(">i", 2)
        + struct.pack(">h2si2i", 2, b"in", 2, 2, 5)
        + struct.pack(">h9sii", 9, b"out-topic", 1, 0)
    )  # fmt: skip

    assert recorded_state(HEAD.pack(0, 7, 3, 60_000, 2) + topics + TIMES) == EXPECTED


@pytest.mark.parametrize("tags", [b"\x00", b"\x02\x00\x08" + bytes(8) + b"\x02\x02" + bytes(2)])
def test_version_1(tags: bytes) -> None:
    """Compact lengths are one more than the length; `tags` are tagged fields, of which there may be any number."""
    unknown_tag = b"\x01\x09\x81\x01" + bytes(129)
    topics = (
        b"\x03"
        + struct.pack(">B2sB2i", 3, b"in", 3, 2, 5) + unknown_tag
        + struct.pack(">B9sBi", 10, b"out-topic", 2, 0) + b"\x00"
    )  # fmt: skip

    assert recorded_state(HEAD.pack(1, 7, 3, 60_000, 2) + topics + TIMES + tags) == EXPECTED


@pytest.mark.parametrize(("version", "none"), [(0, struct.pack(">i", -1)), (1, b"\x00")])
def test_a_state_without_partitions(version: int, none: bytes) -> None:
    state = recorded_state(HEAD.pack(version, 7, 3, 60_000, 0) + none + TIMES)

    assert (state.state, state.partitions) == ("Empty", frozenset())


def test_a_later_version_is_refused() -> None:
    with pytest.raises(ValueError, match="records of version 2, expected 0 or 1"):
        recorded_state(HEAD.pack(2, 7, 3, 60_000, 0))


def test_the_key_is_the_transactional_id() -> None:
    assert transactional_id_of(struct.pack(">hh4s", 0, 4, b"a.b-")) == "a.b-"
    assert transactional_id_of(struct.pack(">hh4s", 1, 4, b"a.b-")) is None


@pytest.mark.parametrize(
    ("name", "code"),
    [("", 0), ("hello", 99162322), ("polygenelubricants", 0), ("headrace.predictor-0", 255842974), ("é😀", 1996812)],
)
def test_the_partition_is_the_absolute_hash_code_of_java(name: str, code: int) -> None:
    """That of `polygenelubricants` is the smallest integer, which has no absolute value: Kafka takes 0."""
    assert partition_in_log(name, 2**31) == code
    assert partition_in_log(name, 50) == code % 50
