"""Splits a document into one raw record per changed event. The bytes of an event's slice are unchanged.

msgspec finds where each event begins and ends without building objects. Only the three keys that identify an event
are decoded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import msgspec

from services.fetcher.capture_records import HOP, SCHEMA, DocumentRecords
from services.fetcher.planning.cursor import KnownVersions, SliceVersion
from services.fetcher.planning.slices import DocumentFindings, PlanningKeys
from services.fetcher.slice_limits import slice_check
from services.fetcher.sources.declaration import MAX_SLICE_BYTES, EventKey, Feed, Identity, Source
from services.fetcher.sources.documents import Document
from shared.broker.contract import NewRecord
from shared.errors import InvalidDocument
from shared.events import event_id_of, event_key_of
from shared.ops import dead_letters as names
from shared.records import headers_of
from shared.topics import dead_letter_topic

DEAD_LETTERS = dead_letter_topic(HOP)
CAPTURE_FRAME = "services.fetcher.capture"
# 16 bytes distinguish the versions of one event. Short, because the cursor has one or two hashes per event of a day.
HASH_BYTES = 16
# hashlib releases the interpreter's lock for inputs above this size. To get it back from another thread takes longer
# than to hash a slice, so larger slices are hashed in parts.
LOCKED_HASH_BYTES = 2047
# msgspec raises RecursionError for a document nested thousands of levels deep.
DECODE_ERRORS = (msgspec.DecodeError, RecursionError)
MAX_VENUE, MAX_NUMBER = 999, 99
# More rejected slices than both fail the document: it is something else than it should be.
MAX_REJECTED, MAX_REJECTED_SHARE = 20, 0.2
# A document with fewer commas cannot have more elements than this: about 12 MB as Python objects.
SAFE_ELEMENTS = 200_000
# The cursor of a window has a hash for each event that was ever seen, in one record.
MAX_KNOWN_FACTOR = 2


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
    """The bytes of one event inside its document, the hash of them, and its key or the reason why there is no key.
    `identity`: the decoded keys of the event, among them those that planning reads."""

    body: msgspec.Raw
    hash: str
    event_key: str | None
    problem: str = ""
    identity: Any = None


class Capture:
    """Splits the documents of one feed. Thread-safe."""

    def __init__(self, source: Source, feed: Feed) -> None:
        self._source = source.name
        self._feed = feed
        self._max_events, self._max_event_bytes = source.http.max_events, source.http.max_event_bytes
        self._path = feed.events.split(".")
        self._envelope = _document_type(self._path)
        self._zone = source.zone
        keys = planning_keys_of(source, feed)
        self._identities = {
            # Events of a day that is over need no timetable.
            is_historical: _IdentityReader(source.identity, PlanningKeys(keys.values) if is_historical else keys)
            for is_historical in (True, False)
        }

    def __call__(self, document: Document, previous: KnownVersions, closing: bool = False) -> CaptureResult:
        """Records of the events whose slice differs from the previous version.

        `closing`: this is the final document of a day that was followed live. If the feed declares
        `close: reemit-first`, events that never changed since their first version are emitted again, as historical.
        Raises InvalidDocument if the document does not have the declared shape.
        """
        reemits = closing and self._feed.close == "reemit-first"
        versions = versions_of_events(previous)
        records: list[NewRecord] = []
        dead_letters: list[NewRecord] = []
        events = 0
        raw = DocumentRecords(self._source, document)
        identities = self._identities[document.historical]
        findings = DocumentFindings(identities.keys, self._zone)
        for slice_ in self._distinct(document):
            key = slice_.event_key
            if key is None:
                dead_letters.append(self._dead_letter(document, slice_))
                continue
            events += 1
            findings.add(key, partial(identities.field, slice_.identity))
            version = _next_version(previous.get(key), slice_.hash, reemits)
            if version is not None:
                records.append(raw.record(key, slice_.body, version))
                versions[key] = version
        if len(versions) > MAX_KNOWN_FACTOR * self._max_events:
            raise InvalidDocument(
                f"{document.url}: expected at most {MAX_KNOWN_FACTOR * self._max_events:,} events over all documents of"
                f" the day, got {len(versions):,}"
            )
        return CaptureResult(records, versions, dead_letters, events, findings)

    def bodies(self, document: Document) -> dict[str, bytes]:
        """The bytes of each event by its key. Raises InvalidDocument like a call."""
        distinct = self._distinct(document)
        return {slice_.event_key: bytes(slice_.body) for slice_ in distinct if slice_.event_key is not None}

    def new_dead_letters(
        self, result: CaptureResult, document: Document, previous: str | None, read: Callable[[str], bytes]
    ) -> list[NewRecord]:
        """The dead letters of slices that the previous document of the window did not have.

        `previous` is its hash, or None; `read` returns its body or raises InvalidDocument. The cursor does not have the
        rejected slices, because their number has no bound over a day.
        """
        if not result.dead_letters or previous is None:
            return result.dead_letters
        try:
            before = replace(document, body=read(previous))
            known = {letter.value for letter in self(before, {}).dead_letters}
        except InvalidDocument:
            return result.dead_letters
        return [letter for letter in result.dead_letters if letter.value not in known]

    def _distinct(self, document: Document) -> Iterator[Slice]:
        """Every slice of the document. A second slice of the same event has no key.

        Each distinct rejected slice is yielded once. Raises InvalidDocument if there are too many.
        """
        slices = self._slices(document)
        keys: set[str] = set()
        rejected: set[str] = set()
        rejections = 0
        for slice_ in slices:
            key = slice_.event_key
            if key is not None and key not in keys:
                keys.add(key)
                yield slice_
                continue
            problem = slice_.problem or f"expected each event once, got {key} again"
            rejections += 1
            if rejections > max(MAX_REJECTED, MAX_REJECTED_SHARE * len(slices)):
                raise InvalidDocument(
                    f"{document.url}: too many of {len(slices):,} slices are not events of the day: {problem}"
                )
            if slice_.hash not in rejected:
                rejected.add(slice_.hash)
                yield Slice(slice_.body, slice_.hash, None, problem)

    def _slices(self, document: Document) -> Sequence[Slice]:
        slices: list[Slice] = []
        days: set[str] = set()
        day = document.date.isoformat()
        decode = self._identities[document.historical].decode
        events = self._events(document)
        check = slice_check(document.body, self._max_event_bytes)
        for body in events:
            hash_ = _hash_of(body)
            if (problem := check(body)) is not None:
                slices.append(Slice(body, hash_, None, problem))
                continue
            try:
                identity = decode(body)
            except DECODE_ERRORS as error:
                slices.append(Slice(body, hash_, None, f"expected the date, venue and number of an event: {error}"))
                continue
            days.add(identity.date)
            if wrong := _identity_problem(identity, day):
                slices.append(Slice(body, hash_, None, wrong))
            else:
                key = event_key_of(self._source, document.date, identity.venue, identity.number)
                slices.append(Slice(body, hash_, key, "", identity))
        if slices and not days:
            raise InvalidDocument(f"{document.url}: none of {len(slices)} slices is an event: {slices[0].problem}")
        if days and day not in days:
            raise WrongDay(f"{document.url}: expected events of {document.date}, got events of {min(days)[:10]}")
        return slices

    def _events(self, document: Document) -> Sequence[msgspec.Raw]:
        body = document.body
        try:
            if not body.isascii():
                body.decode()  # msgspec does not validate the UTF-8 of values that it skips
            if len(body) >= SAFE_ELEMENTS and body.count(b",") >= SAFE_ELEMENTS:
                _check_count(body, self._path, self._max_events)
            node = msgspec.json.decode(body, type=self._envelope)
        except (*DECODE_ERRORS, UnicodeDecodeError) as error:
            raise InvalidDocument(
                f"{document.url}: expected JSON with events in `{self._feed.events}`: {error}"
            ) from error
        for _ in self._path:
            node = node.inner
        events: Sequence[msgspec.Raw] = node
        if len(events) > self._max_events:
            raise InvalidDocument(f"{document.url}: expected at most {self._max_events:,} events, got {len(events):,}")
        return events

    def _dead_letter(self, document: Document, slice_: Slice) -> NewRecord:
        """A dead letter in the runtime's format. The slice was never a record, so the original topic is empty."""
        event_id = event_id_of(self._source, self._feed.name, document.url, slice_.hash)
        is_cut = len(slice_.body) > MAX_SLICE_BYTES
        note = f" (cut to {MAX_SLICE_BYTES:,} bytes)" if is_cut else ""
        headers = headers_of(event_id, SCHEMA, self._source, HOP) | {
            names.ORIGINAL_TOPIC: b"",
            names.ORIGINAL_PARTITION: b"-1",
            names.ORIGINAL_OFFSET: b"-1",
            names.ORIGINAL_TIMESTAMP: str(round(document.fetched_at.timestamp() * 1000)).encode(),
            names.ORIGINAL_GROUP: HOP.encode(),
            names.CAUSE: b"InvalidEvent",
            names.MESSAGE: f"{document.url}: {slice_.problem}{note}".encode(),
            names.STAGE: b"capture",
            names.ATTEMPTS: b"1",
            names.REDRIVE_COUNT: names.count_text(0),
            names.FIRST_FAILED_AT: document.fetched_at.isoformat().encode(),
            # No exception was raised, so the frame is this module.
            names.STACK_DIGEST: names.stack_digest([CAPTURE_FRAME]).encode(),
            names.STACK_FRAME: CAPTURE_FRAME.encode(),
        }
        return NewRecord(DEAD_LETTERS, document.url.encode(), bytes(memoryview(slice_.body)[:MAX_SLICE_BYTES]), headers)


def versions_of_events(versions: KnownVersions) -> dict[str, SliceVersion]:
    """The versions by event key. Cursors of older versions of this program also have hashes of rejected slices."""
    return {key: version for key, version in versions.items() if ":" in key}


def _check_count(body: bytes, path: Sequence[str], max_events: int) -> None:
    """Counts the elements of the array of events before any of them becomes an object.

    Raises msgspec.ValidationError if there are more than `max_events`, or if one of them is not an object.
    """
    count = 0

    def count_one(_element: Any) -> None:
        nonlocal count
        count += 1
        if count > max_events:
            raise ValueError(f"expected at most {max_events:,} events, got more")

    element = msgspec.defstruct("Element", [], namespace={"__post_init__": count_one})
    msgspec.json.decode(body, type=_document_type(path, element))


def _document_type(path: Sequence[str], element: Any = msgspec.Raw) -> Any:
    """The msgspec type of a document: other keys are skipped, events stay bytes."""
    kind: Any = list[element]
    for key in reversed(path):
        kind = msgspec.defstruct("Envelope", [("inner", kind)], rename={"inner": key})
    return kind


class _IdentityReader:
    """Decodes the keys that identify an event, and those that planning reads."""

    def __init__(self, declared: Identity, keys: PlanningKeys) -> None:
        self.keys = keys
        self._fields = {key: f"planning_{number}" for number, key in enumerate(keys.names())}
        names = {"date": declared.date, "venue": declared.venue, "number": declared.number}
        names |= {name: key for key, name in self._fields.items()}
        optional = [(name, msgspec.Raw, msgspec.Raw()) for name in self._fields.values()]
        required: list[tuple[str, type]] = [("date", str), ("venue", int), ("number", int)]
        identified: Any = msgspec.defstruct("Identified", [*required, *optional], rename=names)
        self.decode: Callable[[bytes], Any] = msgspec.json.Decoder(identified).decode

    def field(self, identity: Any, key: str) -> msgspec.Raw:
        """The JSON text of the value of a key that planning reads; empty if the event does not have it."""
        raw: msgspec.Raw = getattr(identity, self._fields[key])
        return raw


def _hash_of(body: msgspec.Raw) -> str:
    if len(body) <= LOCKED_HASH_BYTES:
        return hashlib.blake2b(body, digest_size=HASH_BYTES).hexdigest()
    view = memoryview(body)
    hasher = hashlib.blake2b(digest_size=HASH_BYTES)
    for begin in range(0, len(view), LOCKED_HASH_BYTES):
        hasher.update(view[begin : begin + LOCKED_HASH_BYTES])
    return hasher.hexdigest()


def _identity_problem(identity: Any, day: str) -> str | None:
    """Why a slice is not an event of the day."""
    if identity.date != day:
        return f"expected an event of {day}, got one of {identity.date[:10]!r}"
    if not (1 <= identity.venue <= MAX_VENUE and 1 <= identity.number <= MAX_NUMBER):
        return (
            f"expected a venue from 1 to {MAX_VENUE} and a number from 1 to {MAX_NUMBER},"
            f" got {identity.venue} and {identity.number}"
        )
    return None


def _next_version(before: SliceVersion | None, hash_: str, reemits: bool) -> SliceVersion | None:
    """The version of a slice to emit after the version before; None if it is not emitted.

    `reemits`: a slice that never changed is emitted again.
    """
    if before is None:
        return SliceVersion(hash_, 1)
    if before.hash != hash_ or (reemits and before.is_unchanged_since_first):
        return before.next(hash_)
    return None


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
