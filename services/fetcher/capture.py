"""Splits a document into one raw record per changed event. The bytes of an event's slice are unchanged.

msgspec finds where each event begins and ends without building objects. Only the three keys that identify an event
are decoded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any, NamedTuple

import msgspec
import orjson

from services.fetcher.planning.cursor import KnownVersions, SliceVersion
from services.fetcher.planning.slices import DocumentFindings, PlanningKeys
from services.fetcher.sources.declaration import EventKey, Feed, Identity, Source
from services.fetcher.sources.documents import Document
from shared.broker.contract import NewRecord
from shared.errors import InvalidDocument
from shared.events import event_id_of, event_key_of
from shared.ops import dead_letters as names
from shared.records import headers_of
from shared.topics import RAW, dead_letter_topic

SCHEMA = "raw-event/1"
HOP = "fetcher"
DEAD_LETTERS = dead_letter_topic(HOP)
CAPTURE_FRAME = "services.fetcher.capture"
# 16 bytes distinguish the versions of one event. Short, because the cursor has one or two hashes per event of a day.
HASH_BYTES = 16
# msgspec raises RecursionError for a document nested thousands of levels deep.
DECODE_ERRORS = (msgspec.DecodeError, RecursionError)
MAX_VENUE, MAX_NUMBER = 999, 99


class WrongDay(InvalidDocument):
    """All events of the document are of another day: `today` is not updated yet, or the file has a wrong name."""


class CaptureResult(NamedTuple):
    """New records, the versions of all events after the document, dead letters of slices without a valid key, the
    number of events in the document, and what they say to planning."""

    records: list[NewRecord]
    versions: dict[str, SliceVersion]
    dead_letters: list[NewRecord]
    events: int
    findings: DocumentFindings


class Slice(NamedTuple):
    """The bytes of one event and its key, or the reason why there is no key. `fields`: the values of the keys that
    planning reads."""

    body: bytes
    event_key: str | None
    problem: str = ""
    fields: Mapping[str, bytes] = {}


class Capture:
    """Splits the documents of one feed. Thread-safe."""

    def __init__(self, source: Source, feed: Feed) -> None:
        self._source = source.name
        self._feed = feed
        self._path = feed.events.split(".")
        self._envelope = _document_type(self._path)
        self._zone = source.zone
        self._keys = planning_keys_of(source, feed)
        self._planning_fields = {f"planning_{number}": key for number, key in enumerate(self._keys.names())}
        self._identity = msgspec.json.Decoder(_identity_type(source.identity, self._planning_fields))

    def __call__(self, document: Document, previous: KnownVersions, closing: bool = False) -> CaptureResult:
        """Records of the events whose slice differs from the previous version.

        `closing`: this is the final document of a day that was followed live. If the feed declares
        `close: reemit-first`, events that never changed since their first version are emitted again, as historical.
        Raises InvalidDocument if the document does not have the declared shape.
        """
        reemits = closing and self._feed.close == "reemit-first"
        versions = dict(previous)
        records: list[NewRecord] = []
        dead_letters: list[NewRecord] = []
        events = 0
        findings = DocumentFindings(self._keys, self._zone)
        for slice_, version in self._versions(document):
            if slice_.event_key is not None:
                events += 1
                findings.add(slice_.event_key.split(":", 2)[2], slice_.fields)
            before = previous.get(slice_.event_key or version.hash)
            if before is not None and before.hash == version.hash:
                if not (reemits and slice_.event_key and before.is_unchanged_since_first):
                    continue
                version = before.next(before.hash)  # noqa: PLW2901 - the same slice, emitted again
            elif before is not None:
                version = before.next(version.hash)  # noqa: PLW2901 - the same event, changed
            if slice_.event_key is None:
                dead_letters.append(self._dead_letter(document, slice_, version))
                versions[version.hash] = version
            else:
                records.append(self._record(document, slice_.event_key, slice_.body, version))
                versions[slice_.event_key] = version
        return CaptureResult(records, versions, dead_letters, events, findings)

    def bodies(self, document: Document) -> dict[str, bytes]:
        """The bytes of each event by its key. Raises InvalidDocument like a call."""
        return {slice_.event_key: slice_.body for slice_, _ in self._versions(document) if slice_.event_key is not None}

    def _versions(self, document: Document) -> Iterator[tuple[Slice, SliceVersion]]:
        """Every slice as the first version of its event. A second slice of the same event has no key."""
        keys: set[str] = set()
        for slice_ in self._slices(document):
            key = slice_.event_key
            hash_ = hashlib.blake2b(slice_.body, digest_size=HASH_BYTES).hexdigest()
            if key in keys:
                yield Slice(slice_.body, None, f"expected each event once, got {key} again"), SliceVersion(hash_, 1)
                continue
            if key is not None:
                keys.add(key)
            yield slice_, SliceVersion(hash_, 1)

    def _slices(self, document: Document) -> Sequence[Slice]:
        slices, days = [], set()
        for raw in self._events(document):
            body = bytes(raw)
            try:
                identity = self._identity.decode(body)
            except DECODE_ERRORS as error:
                slices.append(Slice(body, None, f"expected the date, venue and number of an event: {error}"))
                continue
            days.add(identity.date)
            slices.append(self._to_slice(document.date, body, identity))
        if slices and not days:
            raise InvalidDocument(f"{document.url}: none of {len(slices)} slices is an event: {slices[0].problem}")
        if days and document.date.isoformat() not in days:
            raise WrongDay(f"{document.url}: expected events of {document.date}, got events of {min(days)[:10]}")
        return slices

    def _to_slice(self, day: date, body: bytes, identity: Any) -> Slice:
        if identity.date != day.isoformat():
            return Slice(body, None, f"expected an event of {day}, got one of {identity.date[:10]!r}")
        if not (1 <= identity.venue <= MAX_VENUE and 1 <= identity.number <= MAX_NUMBER):
            return Slice(
                body,
                None,
                f"expected a venue from 1 to {MAX_VENUE} and a number from 1 to {MAX_NUMBER},"
                f" got {identity.venue} and {identity.number}",
            )
        fields = {key: bytes(getattr(identity, name)) for name, key in self._planning_fields.items()}
        return Slice(body, event_key_of(self._source, day, identity.venue, identity.number), fields=fields)

    def _events(self, document: Document) -> Sequence[msgspec.Raw]:
        body = document.body
        try:
            if not body.isascii():
                body.decode()  # msgspec does not validate the UTF-8 of values that it skips
            node = msgspec.json.decode(body, type=self._envelope)
        except (*DECODE_ERRORS, UnicodeDecodeError) as error:
            raise InvalidDocument(
                f"{document.url}: expected JSON with events in `{self._feed.events}`: {error}"
            ) from error
        for _ in self._path:
            node = node.inner
        events: Sequence[msgspec.Raw] = node
        return events

    def _record(self, document: Document, event_key: str, body: bytes, version: SliceVersion) -> NewRecord:
        value = {
            "schema_version": 1,
            "source": self._source,
            "feed": self._feed.name,
            "event_key": event_key,
            "ordinal": version.ordinal,
            "document_hash": document.hash,
            "url": document.url,
            "fetched_at": document.fetched_at,
            "published_at": document.published_at,
            "historical": document.historical,
            "body": orjson.Fragment(body),
        }
        event_id = event_id_of(self._source, self._feed.name, event_key, version.hash, version.ordinal)
        headers = headers_of(event_id, SCHEMA, self._source, HOP)
        return NewRecord(RAW, event_key.encode(), orjson.dumps(value), headers)

    def _dead_letter(self, document: Document, slice_: Slice, version: SliceVersion) -> NewRecord:
        """A dead letter in the runtime's format. The slice was never a record, so the original topic is empty."""
        event_id = event_id_of(self._source, self._feed.name, document.url, version.hash)
        headers = headers_of(event_id, SCHEMA, self._source, HOP) | {
            names.ORIGINAL_TOPIC: b"",
            names.ORIGINAL_PARTITION: b"-1",
            names.ORIGINAL_OFFSET: b"-1",
            names.ORIGINAL_TIMESTAMP: str(round(document.fetched_at.timestamp() * 1000)).encode(),
            names.ORIGINAL_GROUP: HOP.encode(),
            names.CAUSE: b"InvalidEvent",
            names.MESSAGE: f"{document.url}: {slice_.problem}".encode(),
            names.STAGE: b"capture",
            names.ATTEMPTS: b"1",
            names.REDRIVE_COUNT: names.count_text(0),
            names.FIRST_FAILED_AT: document.fetched_at.isoformat().encode(),
            # No exception was raised, so the frame is this module.
            names.STACK_DIGEST: names.stack_digest([CAPTURE_FRAME]).encode(),
            names.STACK_FRAME: CAPTURE_FRAME.encode(),
        }
        return NewRecord(DEAD_LETTERS, document.url.encode(), slice_.body, headers)


def _document_type(path: Sequence[str]) -> Any:
    """The msgspec type of a document: other keys are skipped, events stay bytes."""
    kind: Any = list[msgspec.Raw]
    for key in reversed(path):
        kind = msgspec.defstruct("Envelope", [("inner", kind)], rename={"inner": key})
    return kind


def _identity_type(declared: Identity, planning_fields: Mapping[str, str]) -> Any:
    """The keys that identify an event, and those that planning reads, as bytes that are empty if a key is missing."""
    keys = {"date": declared.date, "venue": declared.venue, "number": declared.number, **planning_fields}
    optional = [(name, msgspec.Raw, msgspec.Raw()) for name in planning_fields]
    return msgspec.defstruct("Identified", [("date", str), ("venue", int), ("number", int), *optional], rename=keys)


def planning_keys_of(source: Source, feed: Feed) -> PlanningKeys:
    """Keys that identify an event are left out: they never change."""
    identity = set(source.identity.model_dump().values())

    def key_of(declared: EventKey | None) -> str | None:
        is_read = declared is not None and declared.feed == feed.name and declared.key not in identity
        return declared.key if declared is not None and is_read else None

    values = tuple(key for key in source.completeness.values.get(feed.name, ()) if key not in identity)
    if source.cadence is None:
        return PlanningKeys(values)
    return PlanningKeys(values, key_of(source.cadence.start), key_of(source.cadence.settled))
