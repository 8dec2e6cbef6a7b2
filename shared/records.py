"""Encodes messages as records and decodes them: bodies, headers, event ids and trace ids."""

from __future__ import annotations

import hashlib
from functools import cache
from typing import Any, NamedTuple
from uuid import UUID, uuid5

import orjson
from pydantic import BaseModel, ValidationError

from shared.broker.contract import Headers, NewRecord, Record
from shared.errors import InvalidEvent
from shared.events import MESSAGE_TYPES, NAMESPACE, RAW_SCHEMA
from shared.topics import DEAD_LETTERS

LIVE = "0"
# The header of a live record of clean-events: when its document was fetched, in ISO format. It has no meaning for the
# data; the loader measures freshness with it.
FETCHED_AT = "fetched_at"
_LIVE = LIVE.encode()
_DEAD_LETTERS = frozenset(DEAD_LETTERS)


class DecodedRecord(NamedTuple):
    """A decoded record: the message, its event id and revision, and the original record."""

    message: Any
    event_id: UUID
    revision: str
    record: Record


@cache
def _span_id(hop: str) -> str:
    return hashlib.blake2b(hop.encode(), digest_size=8).hexdigest()


def headers_of(event_id: UUID, schema: str, source: str, hop: str, revision: str = LIVE) -> dict[str, bytes]:
    """The headers of every record.

    The trace id is the event id, so a trace follows one fact through all hops without stored state. The span id is
    derived from the hop (W3C trace context, version 00, sampled).
    """
    return SharedHeaders(schema, source, hop, revision).of_hex(event_id.hex)


class SharedHeaders:
    """What the headers of the records of one schema and source share."""

    def __init__(self, schema: str, source: str, hop: str, revision: str = LIVE) -> None:
        self._schema, self._revision, self._source = schema.encode(), revision.encode(), source.encode()
        self._span = f"-{_span_id(hop)}-01"

    def of_hex(self, event_id: str) -> dict[str, bytes]:
        """The headers of one record; `event_id` as 32 hex digits."""
        dashed = f"{event_id[:8]}-{event_id[8:12]}-{event_id[12:16]}-{event_id[16:20]}-{event_id[20:]}"
        return {
            "event_id": dashed.encode(),
            "schema": self._schema,
            "traceparent": f"00-{event_id}{self._span}".encode(),
            "revision": self._revision,
            "source": self._source,
        }


def encode(message: BaseModel, topic: str, schema: str, event_id: UUID, hop: str, revision: str = LIVE) -> NewRecord:
    """A message as a record of `topic` with its event key as the key. `hop` is the writing service."""
    return NewRecord(
        topic,
        message.event_key.encode(),  # type: ignore[attr-defined]  # every message has an event key
        message.__pydantic_serializer__.to_json(message, exclude_none=True),
        headers_of(event_id, schema, message.source, hop, revision),  # type: ignore[attr-defined]
    )


def decode(record: Record) -> DecodedRecord:
    """Raises InvalidEvent if the headers or the body do not match the schema.

    The body of a dead letter is not decoded, because it may be anything: its message is None.
    """
    if record.topic in _DEAD_LETTERS:
        return DecodedRecord(None, uuid5(NAMESPACE, record.place), LIVE, record)
    event_id, schema, revision = identity_of(record.headers)
    adapter = MESSAGE_TYPES.get(schema)
    if adapter is None:
        raise InvalidEvent(f"expected one of the schemas {', '.join(MESSAGE_TYPES)}, got {schema!r}")
    try:
        # The body of a raw event is mostly JSON of any shape, which orjson parses in half of pydantic's time.
        if schema == RAW_SCHEMA:
            message = adapter.validate_python(orjson.loads(record.value))
        else:
            message = adapter.validate_json(record.value)
    except orjson.JSONDecodeError as error:
        raise InvalidEvent(f"message: Invalid JSON: {error}") from error
    except ValidationError as error:
        raise InvalidEvent(reason_of(error)) from error
    return DecodedRecord(message, event_id, revision, record)


def identity_of(headers: Headers) -> tuple[UUID, str, str]:
    """Event id, schema and revision of a record. Raises InvalidEvent if the first two are missing or invalid."""
    try:
        return (UUID(headers["event_id"].decode()), headers["schema"].decode(), revision_of(headers))
    except (KeyError, ValueError) as error:
        raise InvalidEvent(f"expected headers event_id (a UUID) and schema, got {sorted(headers)}: {error}") from error


def revision_of(headers: Headers) -> str:
    """The revision of a record: `LIVE`, or the id of the replay operation that wrote it."""
    return headers.get("revision", _LIVE).decode()


def reason_of(error: ValidationError) -> str:
    """The first three problems of a pydantic error in one line, with field paths but without the input."""
    problems = [
        f"{'.'.join(str(part) for part in item['loc']) or 'message'}: {item['msg']}"
        for item in error.errors(include_url=False, include_context=False, include_input=False)[:3]
    ]
    more = error.error_count() - len(problems)
    return "; ".join(problems) + (f" (+{more} more)" if more > 0 else "")
