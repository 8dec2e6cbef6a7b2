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

FateClass = Literal["loaded", "superseded", "parked", "dead", "filtered", "in flight", "missing"]
CLASSES: tuple[FateClass, ...] = get_args(FateClass)
ARCHIVE, ROWS = "archive", "facts"


class DeadLetterEvidence(NamedTuple):
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
    retry_place: str | None = (
        None  # place in a retry topic, if a redrive wrote it there and the service has not read it
    )
    dead_letters: tuple[DeadLetterEvidence, ...] = ()
    filter_reason: str | None = None


class Fate(NamedTuple):
    """`why`: the reason, by which a class is counted; of a missing record, the two places between which it was lost.
    `place`: its last known place."""

    class_: FateClass
    why: str = ""
    place: str | None = None

    @property
    def is_missing(self) -> bool:
        return self.class_ == "missing"


def decide_fate(evidence: RecordEvidence) -> Fate:
    fates = (
        rule(evidence) for rule in (_fate_of_rejected, _fate_of_gap, _fate_of_stored, _fate_in_flight, _fate_of_dropped)
    )
    return next((candidate for candidate in fates if candidate is not None), None) or _missing(
        evidence, *_lost_between(evidence)
    )


def _fate_of_gap(evidence: RecordEvidence) -> Fate | None:
    """Missing: a topic that must hold the record does not, although an earlier or a later place has it."""
    if evidence.raw is None and evidence.raw_due:
        return _missing(evidence, ARCHIVE if evidence.archived else "the source", RAW)
    is_downstream = evidence.rows is not None or evidence.parked
    if is_downstream and evidence.clean is None and evidence.clean_due:
        return _missing(evidence, RAW, CLEAN)
    return None


def _fate_of_stored(evidence: RecordEvidence) -> Fate | None:
    if evidence.rows is not None:
        return Fate(evidence.rows, place=evidence.raw)
    return Fate("parked", "event not listed yet", evidence.clean) if evidence.parked else None


def _fate_in_flight(evidence: RecordEvidence) -> Fate | None:
    if evidence.retry_place is not None:
        return Fate("in flight", evidence.retry_place.split("/")[0], evidence.retry_place)
    if evidence.clean is not None:
        return None if evidence.clean_passed else Fate("in flight", "loader", evidence.clean)
    return Fate("in flight", "cleaner", evidence.raw) if evidence.raw is not None and not evidence.raw_passed else None


def _fate_of_dropped(evidence: RecordEvidence) -> Fate | None:
    if evidence.dead_letters:
        dead_letter = evidence.dead_letters[-1]
        return Fate("dead", f"{dead_letter.service}: {dead_letter.cause}", dead_letter.place)
    return (
        Fate("filtered", evidence.filter_reason, evidence.clean or evidence.raw)
        if evidence.filter_reason is not None
        else None
    )


def _lost_between(evidence: RecordEvidence) -> tuple[str, str]:
    if evidence.clean is not None:
        return CLEAN, ROWS
    last_place = RAW if evidence.raw is not None else ARCHIVE
    return last_place, (CLEAN if evidence.clean_due else ROWS)


def _fate_of_rejected(evidence: RecordEvidence) -> Fate | None:
    """The fate of a rejected slice: the fetcher writes it only to its dead letters, which retention removes later."""
    if not evidence.rejected:
        return None
    if evidence.dead_letters or not evidence.raw_due:
        cause, place = (
            (evidence.dead_letters[-1].cause, evidence.dead_letters[-1].place)
            if evidence.dead_letters
            else ("no longer kept", None)
        )
        return Fate("dead", f"fetcher: {cause}", place)
    return _missing(evidence, ARCHIVE, dead_letter_topic("fetcher"))


def _missing(evidence: RecordEvidence, after: str, before: str) -> Fate:
    return Fate("missing", f"{after} -> {before}", evidence.clean or evidence.raw)


@dataclass
class FateCounts:
    """Counts of fates, by class and by reason."""

    fetched: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    why: dict[str, Counter[str]] = field(default_factory=dict)

    def add(self, fate: Fate) -> None:
        self.fetched += 1
        self.counts[fate.class_] += 1
        if fate.why:
            self.why.setdefault(fate.class_, Counter())[fate.why] += 1

    @property
    def difference(self) -> int:
        """Fetched records minus the sum of all classes. Always zero."""
        return self.fetched - sum(self.counts[each] for each in CLASSES)


def count_fates(fates: Iterable[Fate]) -> FateCounts:
    counts = FateCounts()
    for each in fates:
        counts.add(each)
    return counts


class Finding(NamedTuple):
    """A fault. It is confirmed if two passes find it."""

    kind: Literal["missing", "twice", "rows differ", "hole", "unarchived"]
    subject: str  # an event_id, an event key or a range of offsets
    where: str
    detail: str = ""
    key: str = ""

    @property
    def identity(self) -> tuple[str, str, str]:
        """The fields by which two passes recognise the same finding."""
        return self.kind, self.subject, self.where


def confirmed_findings(first: Iterable[Finding], second: Iterable[Finding]) -> list[Finding]:
    """The findings of the second pass that the first pass has too."""
    identities = {each.identity for each in first}
    return [each for each in second if each.identity in identities]
