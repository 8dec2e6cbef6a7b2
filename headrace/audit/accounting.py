"""What became of everything that was fetched: one fate for each event_id, from what was found of it.

An id goes from the raw archive to raw-events, to clean-events, to its rows. Wherever it is found at a later place,
every earlier one must hold it too, unless that place has thrown away what is so old. What stopped before its rows needs
a reason: it is parked, a dead letter, says nothing, or is still to come. Without a reason it is missing.
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
    """A dead letter: whose, where it lies, and why."""

    service: str
    place: str
    cause: str


@dataclass(frozen=True, slots=True)
class RecordEvidence:
    """What was found of one event_id.

    `*_due`: the topic must hold the record if it was ever written, for nothing so young was thrown away yet.
    `*_passed`: the reader's committed position is behind the record.
    """

    event_id: str
    key: str
    at_ms: int | None = None
    archived: bool = False
    rejected: bool = False  # by the fetcher: its place is the fetcher's dead letters
    raw: str | None = None  # its place in the topic
    raw_due: bool = True
    raw_passed: bool = False
    clean: str | None = None
    clean_due: bool = True
    clean_passed: bool = False
    rows: Literal["loaded", "superseded"] | None = None
    parked: bool = False
    retrying: str | None = None  # the place where a redrive has put it, and nobody has read it yet
    dead: tuple[Death, ...] = ()
    says_nothing: str | None = None


class Fate(NamedTuple):
    """`why` groups those of a class; `between` are the two places of what is missing, `place` where it is or was."""

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
    """A place that has lost what is further on, or has never got what comes before it."""
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
    """A slice that the fetcher could not use goes nowhere but to its dead letters, which forget it in the end."""
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
    """The fates of many ids, added up."""

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
        """What was fetched less what became of it: zero, always."""
        return self.fetched - sum(self.counts[each] for each in CLASSES)


def books_of(fates: Iterable[Fate]) -> Books:
    books = Books()
    for each in fates:
        books.enter(each)
    return books


class Finding(NamedTuple):
    """Something that must not be. Equal in two looks, it is so."""

    kind: Literal["missing", "twice", "rows differ", "hole", "unarchived"]
    subject: str  # an event_id, an event key, a span of offsets
    where: str
    detail: str = ""
    key: str = ""

    @property
    def same(self) -> tuple[str, str, str]:
        """What makes it the same finding at a second look."""
        return self.kind, self.subject, self.where


def confirmed(first: Iterable[Finding], second: Iterable[Finding]) -> list[Finding]:
    """Those of the second look that the first one saw too."""
    seen = {each.same for each in first}
    return [each for each in second if each.same in seen]
