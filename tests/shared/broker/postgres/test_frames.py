"""Encoding of record batches."""

from __future__ import annotations

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from shared.broker.contract import NewRecord, Record
from shared.broker.postgres.frames import FORMAT, MAX_BATCH_BYTES, decode_batch, encode_batch
from shared.errors import BrokerError

NEW = st.builds(
    NewRecord,
    topic=st.just("t"),
    key=st.binary(max_size=20),
    value=st.binary(max_size=200),
    headers=st.dictionaries(st.text(max_size=10), st.binary(max_size=20), max_size=4),
)
GOOD = encode_batch([NewRecord("t", b"k", bytes(range(256)) * 3, {"event_id": b"x"})] * 3, 1_700_000_000_000)


@given(st.lists(NEW, min_size=1, max_size=20), st.integers(0, 2**45), st.integers(0, 2**60))
def test_a_batch_survives_its_encoding(new: list[NewRecord], timestamp_ms: int, base: int) -> None:
    decoded = decode_batch("t", 3, base, encode_batch(new, timestamp_ms))

    assert decoded == [
        Record("t", 3, base + number, timestamp_ms, each.key, each.value, each.headers)
        for number, each in enumerate(new)
    ]


@pytest.mark.parametrize("payload", [b"", FORMAT, b"\x02" + GOOD[1:], GOOD + b"more", GOOD + GOOD, GOOD[1:]])
def test_bytes_that_are_no_batch_are_refused_with_their_offset(payload: bytes) -> None:
    with pytest.raises(BrokerError, match="t/3/17"):
        decode_batch("t", 3, 17, payload)


@given(st.integers(0, len(GOOD) - 1))
def test_a_truncated_batch_is_refused(length: int) -> None:
    with pytest.raises(BrokerError):
        decode_batch("t", 3, 17, GOOD[:length])


@given(st.integers(0, len(GOOD) * 8 - 1))
def test_a_batch_with_one_flipped_bit_is_never_read_as_other_records(bit: int) -> None:
    damaged = bytearray(GOOD)
    damaged[bit // 8] ^= 1 << bit % 8

    try:
        decoded = decode_batch("t", 3, 17, bytes(damaged))
    except BrokerError:
        return
    assert decoded == decode_batch("t", 3, 17, GOOD)  # a bit without effect, such as the size hint of the frame


@given(st.binary(max_size=300))
def test_any_other_bytes_are_refused(payload: bytes) -> None:
    with pytest.raises(BrokerError):
        decode_batch("t", 3, 17, FORMAT + payload)


def test_a_batch_that_unpacks_to_too_much_is_refused_before_it_is_unpacked() -> None:
    head = zstandard.ZstdCompressor().compress(b"")[:4]
    bomb = head + bytes([0b1110_0000]) + (MAX_BATCH_BYTES + 1).to_bytes(8, "little") + b"\x01\x00\x00"

    with pytest.raises(BrokerError, match="at most"):
        decode_batch("t", 3, 17, FORMAT + bomb)
