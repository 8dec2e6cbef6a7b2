"""Decides the fate of every fetched record: one fate per event_id, from the evidence about it.

An event_id passes from the archive of raw documents to raw-events, to clean-events, to its rows. If it is found at one
place, every earlier place must hold it too, unless its retention has removed records of that age. A record that has not
reached its rows needs a reason: it is parked, a dead letter, filtered, or in flight. Without a reason it is missing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, get_args

from shared.topics import CLEAN, RAW, dead_letter_topic

Class = Literal["loaded", "superseded", "parked", "dead", "filtered", "in flight", "missing"]
CLASSES: tuple[Class, ...] = get_args(Class)
ARCHIVE, ROWS = "archive", "facts"


class Death(NamedTuple):
    """A dead letter: the service that failed, its place (topic/partition/offset) and its cause."""

    service: str
    place: str
    cause: str


@dataclass(frozen=True, slots=True)
class RecordEvidence:
    """What the archive, the topics and the tables hold of one event_id.

    `*_due`: the topic must still hold the record if it was ever written, because retention has not reached its age.
    `*_passed`: the consumer's committed position is after the record.
    """

    event_id: str
    key: str
    at_ms: int | None = None
    archived: bool = False
    rejected: bool = False  # by the fetcher, which writes such records to its dead letters only
    raw: str | None = None  # place in raw-events: topic/partition/offset
    raw_due: bool = True
    raw_passed: bool = False
    clean: str | None = None
    clean_due: bool = True
    clean_passed: bool = False
    rows: Literal["loaded", "superseded"] | None = None
    parked: bool = False
    retrying: str | None = None  # place in a retry topic, if a redrive wrote it there and the service has not read it
    dead: tuple[Death, ...] = ()
    says_nothing: str | None = None


class Fate(NamedTuple):
    """`why`: the reason, by which a class is counted; of a missing record, the two places between which it was lost.
    `place`: its last known place."""

    class_: Class
    why: str = ""
    place: str | None = None

    @property
    def is_missing(self) -> bool:
        return self.class_ == "missing"


def fate(found: RecordEvidence) -> Fate:
    answers = (step(found) for step in (_of_rejected, _gap, _at_rest, _under_way, _given_up))
    return next((answer for answer in answers if answer is not None), None) or _missing(found, *_last_seen(found))


def _gap(found: RecordEvidence) -> Fate | None:
    """Missing: a topic that must hold the record does not, although an earlier or a later place has it."""
    if found.raw is None and found.raw_due:
        return _missing(found, ARCHIVE if found.archived else "the source", RAW)
    beyond = found.rows is not None or found.parked
    if beyond and found.clean is None and found.clean_due:
        return _missing(found, RAW, CLEAN)
    return None


def _at_rest(found: RecordEvidence) -> Fate | None:
    if found.rows is not None:
        return Fate(found.rows, place=found.raw)
    return Fate("parked", "event not listed yet", found.clean) if found.parked else None


def _under_way(found: RecordEvidence) -> Fate | None:
    if found.retrying is not None:
        return Fate("in flight", found.retrying.split("/")[0], found.retrying)
    if found.clean is not None:
        return None if found.clean_passed else Fate("in flight", "loader", found.clean)
    return Fate("in flight", "cleaner", found.raw) if found.raw is not None and not found.raw_passed else None


def _given_up(found: RecordEvidence) -> Fate | None:
    if found.dead:
        death = found.dead[-1]
        return Fate("dead", f"{death.service}: {death.cause}", death.place)
    return Fate("filtered", found.says_nothing, found.clean or found.raw) if found.says_nothing is not None else None


def _last_seen(found: RecordEvidence) -> tuple[str, str]:
    if found.clean is not None:
        return CLEAN, ROWS
    last = RAW if found.raw is not None else ARCHIVE
    return last, (CLEAN if found.clean_due else ROWS)


def _of_rejected(found: RecordEvidence) -> Fate | None:
    """The fate of a rejected slice: the fetcher writes it only to its dead letters, which retention removes later."""
    if not found.rejected:
        return None
    if found.dead or not found.raw_due:
        cause, place = (found.dead[-1].cause, found.dead[-1].place) if found.dead else ("no longer kept", None)
        return Fate("dead", f"fetcher: {cause}", place)
    return _missing(found, ARCHIVE, dead_letter_topic("fetcher"))


def _missing(found: RecordEvidence, after: str, before: str) -> Fate:
    return Fate("missing", f"{after} -> {before}", found.clean or found.raw)


@dataclass
class Books:
    """Counts of fates, by class and by reason."""

    fetched: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    why: dict[str, Counter[str]] = field(default_factory=dict)

    def enter(self, entry: Fate) -> None:
        self.fetched += 1
        self.counts[entry.class_] += 1
        if entry.why:
            self.why.setdefault(entry.class_, Counter())[entry.why] += 1

    @property
    def difference(self) -> int:
        """Fetched records minus the sum of all classes. Always zero."""
        return self.fetched - sum(self.counts[each] for each in CLASSES)


def books_of(fates: Iterable[Fate]) -> Books:
    books = Books()
    for each in fates:
        books.enter(each)
    return books


class Finding(NamedTuple):
    """A fault. It is confirmed if two passes find it."""

    kind: Literal["missing", "twice", "rows differ", "hole", "unarchived"]
    subject: str  # an event_id, an event key or a range of offsets
    where: str
    detail: str = ""
    key: str = ""

    @property
    def same(self) -> tuple[str, str, str]:
        """The fields by which two passes recognise the same finding."""
        return self.kind, self.subject, self.where


def confirmed(first: Iterable[Finding], second: Iterable[Finding]) -> list[Finding]:
    """The findings of the second pass that the first pass has too."""
    seen = {each.same for each in first}
    return [each for each in second if each.same in seen]
