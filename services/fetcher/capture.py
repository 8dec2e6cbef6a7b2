"""Splits a document into one raw record per changed event. The bytes of an event's slice are unchanged.

msgspec finds where each event begins and ends without building objects. Only the three keys that identify an event
are decoded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec

from services.fetcher.capture_records import HOP, SCHEMA, DocumentRecords
from services.fetcher.planning.cursor import KnownVersions, SliceVersion
from services.fetcher.planning.slices import DocumentFindings, PlanningKeys
from services.fetcher.slice_limits import SliceCheck
from services.fetcher.sources.declaration import MAX_SLICE_BYTES, EventKey, Feed, Identity, Source
from services.fetcher.sources.documents import Document
from shared.broker.contract import NewRecord
from shared.errors import InvalidDocument
from shared.events import event_id_of, event_key_of, event_keys_of
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
# A document with fewer commas cannot have more elements than this: about 12 MB as Python objects. An element and its
# comma have at least two bytes.
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


class RejectedSlice(NamedTuple):
    """The bytes of a slice without a valid key, the hash of them, and the reason."""

    body: msgspec.Raw
    hash: str
    problem: str


class Slices(NamedTuple):
    """The slices of a document: the keys of its events, their bytes and their decoded identities (among them the keys
    that planning reads) in the same order, and each distinct rejected slice."""

    keys: Sequence[str]
    bodies: Sequence[msgspec.Raw]
    identities: Sequence[Any]
    rejected: Sequence[RejectedSlice] = ()


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
            is_historical: IdentityReader(
                source.identity, PlanningKeys(keys.values) if is_historical else keys, self._path
            )
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
        slices = self._slices(document)
        raw = DocumentRecords(self._source, document)
        records: list[NewRecord] = []
        for key, body in zip(slices.keys, slices.bodies, strict=True):
            version = _next_version(previous.get(key), _hash_of(body), reemits)
            if version is not None:
                records.append(raw.record(key, body, version))
                versions[key] = version
        if len(versions) > MAX_KNOWN_FACTOR * self._max_events:
            raise InvalidDocument(
                f"{document.url}: expected at most {MAX_KNOWN_FACTOR * self._max_events:,} events over all documents of"
                f" the day, got {len(versions):,}"
            )
        identities = self._identities[document.historical]
        findings = DocumentFindings(identities.keys, self._zone)
        findings.add(slices.keys, identities.fields_of(slices.identities))
        dead_letters = [self._dead_letter(document, slice_) for slice_ in slices.rejected]
        return CaptureResult(records, versions, dead_letters, len(slices.keys), findings)

    def bodies(self, document: Document) -> dict[str, bytes]:
        """The bytes of each event by its key. Raises InvalidDocument like a call."""
        slices = self._slices(document)
        return dict(zip(slices.keys, map(bytes, slices.bodies), strict=True))

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

    def _slices(self, document: Document) -> Slices:
        """Every slice of the document. A second slice of the same event is rejected.

        Raises InvalidDocument if there are too many rejected slices, WrongDay if none is of the day.
        """
        bodies = self._events(document)
        check = SliceCheck(document.body, self._max_event_bytes)
        valid = self._all_valid(document, bodies) if check.passes_all(bodies) else None
        return valid or self._checked(document, bodies, check)

    def _all_valid(self, document: Document, bodies: Sequence[msgspec.Raw]) -> Slices | None:
        """The slices of a document without any rejected one; None if there is one. Decodes them all in one call."""
        try:
            identities = self._identities[document.historical].decode_all(document.body)
        except DECODE_ERRORS:
            return None
        numbers = [(each.venue, each.number) for each in identities]
        distinct = set(numbers)
        is_valid = (
            len(distinct) == len(numbers)
            and {each.date for each in identities} <= {document.date.isoformat()}
            and all(1 <= venue <= MAX_VENUE and 1 <= number <= MAX_NUMBER for venue, number in distinct)
        )
        return Slices(event_keys_of(self._source, document.date, numbers), bodies, identities) if is_valid else None

    def _checked(self, document: Document, bodies: Sequence[msgspec.Raw], check: SliceCheck) -> Slices:
        """The slices, each of them checked."""
        events: dict[str, tuple[msgspec.Raw, Any]] = {}
        rejected: dict[str, RejectedSlice] = {}
        days: set[str] = set()
        problems: list[str] = []
        day = document.date.isoformat()
        for body in bodies:
            identity, problem = self._identity_of(document, body, check)
            if identity is not None:
                days.add(identity.date)
                problem = _identity_problem(identity, day)
            if problem is None:
                key = event_key_of(self._source, document.date, identity.venue, identity.number)
                if key not in events:
                    events[key] = body, identity
                    continue
                problem = f"expected each event once, got {key} again"
            problems.append(problem)
            hash_ = _hash_of(body)
            rejected.setdefault(hash_, RejectedSlice(body, hash_, problem))
        if bodies and not days:
            slices, problem = len(bodies), problems[0]
            raise InvalidDocument(f"{document.url}: none of {slices} slices is an event: {problem}")
        if days and day not in days:
            raise WrongDay(f"{document.url}: expected events of {document.date}, got events of {min(days)[:10]}")
        allowed = int(max(MAX_REJECTED, MAX_REJECTED_SHARE * len(bodies)))
        if len(problems) > allowed:
            slices, problem = len(bodies), problems[allowed]
            raise InvalidDocument(f"{document.url}: too many of {slices:,} slices are not events of the day: {problem}")
        return Slices(
            list(events),
            [body for body, _ in events.values()],
            [identity for _, identity in events.values()],
            list(rejected.values()),
        )

    def _identity_of(self, document: Document, body: msgspec.Raw, check: SliceCheck) -> tuple[Any, str | None]:
        """The decoded identity of a slice, or None and the problem."""
        if (problem := check(body)) is not None:
            return None, problem
        try:
            return self._identities[document.historical].decode(body), None
        except DECODE_ERRORS as error:
            return None, f"expected the date, venue and number of an event: {error}"

    def _events(self, document: Document) -> Sequence[msgspec.Raw]:
        body = document.body
        try:
            if not body.isascii():
                body.decode()  # msgspec does not validate the UTF-8 of values that it skips
            if len(body) >= 2 * SAFE_ELEMENTS and body.count(b",") >= SAFE_ELEMENTS:
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

    def _dead_letter(self, document: Document, slice_: RejectedSlice) -> NewRecord:
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


class IdentityReader:
    """Decodes the keys that identify an event, and those that planning reads."""

    def __init__(self, declared: Identity, keys: PlanningKeys, path: Sequence[str]) -> None:
        """`path`: of the events in a document."""
        self.keys = keys
        self._depth = len(path)
        self._fields = {key: f"planning_{number}" for number, key in enumerate(keys.names())}
        names = {"date": declared.date, "venue": declared.venue, "number": declared.number}
        names |= {name: key for key, name in self._fields.items()}
        optional = [(name, msgspec.Raw, msgspec.Raw()) for name in self._fields.values()]
        required: list[tuple[str, type]] = [("date", str), ("venue", int), ("number", int)]
        identified: Any = msgspec.defstruct("Identified", [*required, *optional], rename=names, gc=False)
        self.decode: Callable[[msgspec.Raw], Any] = msgspec.json.Decoder(identified).decode
        self._decode_document = msgspec.json.Decoder(_document_type(path, identified)).decode

    def decode_all(self, document: bytes) -> list[Any]:
        """The identities of all events of a document. Raises one of DECODE_ERRORS if one of them has none."""
        node: Any = self._decode_document(document)
        for _ in range(self._depth):
            node = node.inner
        events: list[Any] = node
        return events

    def fields_of(self, identities: Sequence[Any]) -> Callable[[str], list[bytes]]:
        """By key that planning reads: the JSON text of its value in each event, empty if the event does not have it."""
        return lambda key: list(map(attrgetter(self._fields[key]), identities))


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
