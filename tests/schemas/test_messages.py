"""The exported message schemas match the code, and samples of every version can be decoded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from shared.broker.contract import Record
from shared.errors import InvalidEvent
from shared.events import MESSAGE_TYPES, event_id_of
from shared.records import decode, encode, headers_of
from tests.schemas.export import DIRECTORY, file_name, schema_text

EVENT_ID = UUID("00000000-0000-4000-8000-000000000001")
SAMPLES = sorted((Path(__file__).parent / "samples").glob("*.json"))
each_sample = pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)


def schema_of(sample: Path) -> str:
    """The schema of a sample: raw-event/1 for raw-event.1.json, clean-event/1 for clean-event.1.listed.json."""
    return "/".join(sample.name.split(".")[:2])


def body_of(sample: Path) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(sample.read_text(encoding="utf-8"))
    return body


def record_of(body: dict[str, Any], schema: str) -> Record:
    headers = headers_of(EVENT_ID, schema, body.get("source", ""), "tests")
    return Record("any-topic", 0, 7, 0, b"key", json.dumps(body).encode(), headers)


@pytest.mark.parametrize("schema", MESSAGE_TYPES)
def test_an_exported_schema_matches_the_code(schema: str) -> None:
    file = DIRECTORY / file_name(schema)

    assert file.read_text(encoding="utf-8") == schema_text(schema), "run: python -m tests.schemas.export"


def test_there_is_no_other_exported_schema() -> None:
    assert {path.name for path in DIRECTORY.iterdir()} == {file_name(schema) for schema in MESSAGE_TYPES}


def test_every_message_of_every_version_has_a_sample() -> None:
    kinds = {(schema_of(sample), body_of(sample).get("kind", "")) for sample in SAMPLES}

    assert {schema for schema, _ in kinds} == MESSAGE_TYPES.keys()
    assert {kind for schema, kind in kinds if schema == "clean-event/1"} == {
        "listed",
        "observed",
        "settled",
        "reference",
    }


@each_sample
def test_a_sample_is_valid_under_the_exported_schema(sample: Path) -> None:
    import jsonschema  # takes a second, which each worker would spend while it collects

    schema = json.loads((DIRECTORY / file_name(schema_of(sample))).read_text(encoding="utf-8"))

    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(body_of(sample))


@each_sample
def test_a_sample_comes_back_unchanged(sample: Path) -> None:
    schema = schema_of(sample)
    received = decode(record_of(body_of(sample), schema))

    sent = encode(received.message, "any-topic", schema, received.event_id, "tests")

    again = decode(Record("any-topic", 0, 8, 0, sent.key, sent.value, sent.headers))
    assert again.message == received.message
    assert again.event_id == EVENT_ID
    assert sent.key.decode() == body_of(sample)["event_key"]


@each_sample
def test_decoding_keeps_every_field_of_a_sample(sample: Path) -> None:
    message = decode(record_of(body_of(sample), schema_of(sample))).message

    assert_part_of(body_of(sample), message.model_dump(mode="json"))


def assert_part_of(part: Any, whole: Any) -> None:
    """Every value of `part` is in `whole`, which may have further names (of defaults)."""
    if isinstance(part, dict):
        assert part.keys() <= whole.keys()
        for name, value in part.items():
            assert_part_of(value, whole[name])
    elif isinstance(part, list):
        assert len(part) == len(whole)
        for value, other in zip(part, whole, strict=True):
            assert_part_of(value, other)
    else:
        assert part == whole


@each_sample
def test_an_unknown_field_is_refused_by_name(sample: Path) -> None:
    body = body_of(sample) | {"surprise": 1}

    with pytest.raises(InvalidEvent, match=r"surprise: Extra inputs are not permitted"):
        decode(record_of(body, schema_of(sample)))


@each_sample
def test_a_missing_field_is_refused_by_name(sample: Path) -> None:
    message = decode(record_of(body_of(sample), schema_of(sample))).message
    required = [name for name, field in type(message).model_fields.items() if field.is_required()]

    assert required
    for name in required:
        body = {key: value for key, value in body_of(sample).items() if key != name}
        with pytest.raises(InvalidEvent, match=rf"{name}: Field required"):
            decode(record_of(body, schema_of(sample)))


@each_sample
def test_a_message_cannot_be_changed(sample: Path) -> None:
    message = decode(record_of(body_of(sample), schema_of(sample))).message

    with pytest.raises(ValueError, match="frozen"):
        message.source = "another"


@pytest.mark.parametrize("schema", ["raw-event/2", "clean-event", ""])
def test_an_unknown_schema_is_refused_by_name(schema: str) -> None:
    with pytest.raises(InvalidEvent, match="expected one of the schemas raw-event/1") as raised:
        decode(record_of(body_of(SAMPLES[0]), schema))

    assert repr(schema) in str(raised.value)


@pytest.mark.parametrize("header", ["event_id", "schema"])
def test_a_record_without_identity_is_refused(header: str) -> None:
    record = record_of(body_of(SAMPLES[0]), schema_of(SAMPLES[0]))
    headers = {name: value for name, value in record.headers.items() if name != header}

    with pytest.raises(InvalidEvent, match="expected headers event_id"):
        decode(record._replace(headers=headers))


def test_a_time_without_a_zone_is_refused() -> None:
    sample = next(path for path in SAMPLES if path.stem == "loaded-event.1")

    with pytest.raises(InvalidEvent, match="known_at"):
        decode(record_of(body_of(sample) | {"known_at": "2031-05-04T05:40:00"}, schema_of(sample)))


@pytest.mark.parametrize(
    ("ordinal", "event_id"),
    [
        (1, "8af47f42-10f4-538e-8678-e384d5fcf287"),
        (2, "23cebab5-98f0-564e-8a8b-ca6981205739"),
        (3, "15a34638-ba28-5285-ab26-520ee8abad1d"),
    ],
)
def test_an_event_id_is_the_same_on_every_machine(ordinal: int, event_id: str) -> None:
    assert event_id_of("made-up", "programs", "made-up:2031-05-04:03:07", "ab" * 32, ordinal) == UUID(event_id)


def test_an_event_id_differs_if_any_part_differs() -> None:
    ids = {
        event_id_of(source, feed, key, content)
        for source in ("made-up", "other")
        for feed in ("programs", "results")
        for key in ("made-up:2031-05-04:03:07", "made-up:2031-05-04:03:08")
        for content in ("ab" * 32, "cd" * 32)
    }

    assert len(ids) == 2**4
