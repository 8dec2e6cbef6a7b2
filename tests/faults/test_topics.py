"""The digest of a record covers all bytes except those that belong to a run."""

from __future__ import annotations

import pytest

from shared.broker.contract import Record
from shared.records import FETCHED_AT
from shared.topics import CLEAN, LOADED, PREDICTIONS, RAW
from tests.faults.topics import digest_of

VALUE = b'{"event_key":"k","fetched_at":"a","row_id":1,"inputs":["x"]}'
RECORD = Record(CLEAN, 0, 7, 1000, b"key", VALUE, {"event_id": b"1", FETCHED_AT: b"now"})


def test_offset_time_and_time_of_fetch_belong_to_the_run() -> None:
    other = RECORD._replace(partition=1, offset=9, timestamp_ms=2000, headers={"event_id": b"1", FETCHED_AT: b"later"})

    assert digest_of(other) == digest_of(RECORD)


@pytest.mark.parametrize(
    "other",
    [
        RECORD._replace(key=b"another"),
        RECORD._replace(value=VALUE.replace(b'"k"', b'"l"')),
        RECORD._replace(value=VALUE + b" "),
        RECORD._replace(headers={"event_id": b"2"}),
        RECORD._replace(headers={"event_id": b"1", "revision": b"1"}),
    ],
)
def test_all_other_bytes_count(other: Record) -> None:
    assert digest_of(other) != digest_of(RECORD)


@pytest.mark.parametrize(
    ("topic", "field"), [(RAW, b'"fetched_at":"a"'), (LOADED, b'"row_id":1'), (PREDICTIONS, b'"inputs":["x"]')]
)
def test_a_field_of_the_run_counts_only_in_other_topics(topic: str, field: bytes) -> None:
    changed = VALUE.replace(field, field.replace(b'"a"', b'"b"').replace(b"1", b"2").replace(b'"x"', b'"y"'))

    assert digest_of(RECORD._replace(topic=topic, value=changed)) == digest_of(RECORD._replace(topic=topic))
    assert digest_of(RECORD._replace(value=changed)) != digest_of(RECORD)


def test_when_reference_data_were_fetched_belongs_to_the_run() -> None:
    reference = RECORD._replace(key=b"boatrace:reference:venues", value=b'{"known_at":"a"}')

    assert digest_of(reference._replace(value=b'{"known_at":"b"}')) == digest_of(reference)
    assert digest_of(RECORD._replace(value=b'{"known_at":"b"}')) != digest_of(
        RECORD._replace(value=b'{"known_at":"a"}')
    )
