"""Filters dead letters, counts them by kind, and decides which of them a redrive may send back."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from fnmatch import translate
from functools import cached_property
from typing import Any, Literal

from shared.ops.dead_letters import DeadLetter, DeadLetterPlace, State, place_of

RedriveVerdict = Literal["selected", "settled", "over_cap"]

# A record that failed this often will fail again; an operator can lift the cap with `force` after fixing the cause.
MAX_REDRIVES = 5
MAX_FACETS = 50


@dataclass(frozen=True)
class DeadLetterFilter:
    """Conditions on dead letters, combined with AND; a condition that is None matches every letter.

    `key` is a pattern in which * matches any text. `since` (inclusive) and `until` (exclusive) compare with the time
    at which the letter was written.
    """

    cause: str | None = None
    state: State | None = None
    key: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    topic: str | None = None
    stage: str | None = None
    stack_digest: str | None = None

    def matches(self, letter: DeadLetter, state: State) -> bool:
        return (
            self.state in {None, state}
            and self.cause in {None, letter.cause}
            and self.topic in {None, letter.topic}
            and self.stage in {None, letter.stage}
            and self.stack_digest in {None, letter.stack_digest}
            and (self.since is None or letter.at >= self.since)
            and (self.until is None or letter.at < self.until)
            and (self._key is None or self._key.fullmatch(letter.key) is not None)
        )

    @cached_property
    def _key(self) -> re.Pattern[str] | None:
        if self.key is None:
            return None
        # fnmatch's expression never tries a part again, so its time is limited by pattern length times key length.
        return re.compile(translate(re.sub(r"[\[?]", r"[\g<0>]", self.key)))

    def as_json(self) -> dict[str, Any]:
        conditions = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {
            name: value.isoformat() if isinstance(value, datetime) else value
            for name, value in conditions.items()
            if value is not None
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> DeadLetterFilter:
        times = {name: datetime.fromisoformat(data[name]) for name in ("since", "until") if name in data}
        return cls(**{**data, **times})


@dataclass(frozen=True)
class DeadLetterSelection:
    """Selects letters at `places`, or the letters that the filter matches if `places` is None.

    Both are limited to the offsets of `spans`: partition to (begin, end), end exclusive. `force` lifts the cap on
    redrives.
    """

    spans: Mapping[int, tuple[int, int]]
    places: frozenset[DeadLetterPlace] | None = None
    filter: DeadLetterFilter = DeadLetterFilter()
    force: bool = False

    def selects(self, letter: DeadLetter) -> bool:
        """Tells whether the letter is selected, whether or not it is still open."""
        begin, end = self.spans.get(letter.place.partition, (0, 0))
        if not begin <= letter.place.offset < end:
            return False
        return letter.place in self.places if self.places is not None else self.filter.matches(letter, "open")

    def redrive_verdict(self, letter: DeadLetter, settled: Collection[DeadLetterPlace]) -> RedriveVerdict | None:
        """What a redrive does with the letter; None if the letter is not selected."""
        if not self.selects(letter):
            return None
        if letter.place in settled:
            return "settled"
        return "selected" if self.force or letter.redrives < MAX_REDRIVES else "over_cap"

    def as_json(self) -> dict[str, Any]:
        """The JSON stored as an operation's target."""
        return {
            "spans": {str(partition): list(span) for partition, span in self.spans.items()},
            "ids": None if self.places is None else [str(place) for place in sorted(self.places)],
            "filter": self.filter.as_json(),
            "force": self.force,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> DeadLetterSelection:
        ids = data.get("ids")
        return cls(
            {int(partition): (int(span[0]), int(span[1])) for partition, span in data["spans"].items()},
            None if ids is None else frozenset(place for text in ids if (place := place_of(text)) is not None),
            DeadLetterFilter.from_json(data.get("filter", {})),
            bool(data.get("force", False)),
        )


def count_facets(letters: Iterable[DeadLetter]) -> dict[str, list[dict[str, Any]]]:
    """Counts letters by cause, stage, topic, day and stack digest, the most frequent value first.

    Each kind lists at most MAX_FACETS values. A stack digest also shows the first of its letters as an example.
    """
    all_letters = list(letters)
    examples = {letter.stack_digest: letter for letter in reversed(all_letters)}
    counts = {
        "causes": Counter(letter.cause for letter in all_letters),
        "stages": Counter(letter.stage for letter in all_letters),
        "topics": Counter(letter.topic for letter in all_letters),
        "days": Counter(letter.at.date().isoformat() for letter in all_letters),
    }
    by_kind = {name: [_facet(*each) for each in _most_frequent(counter)] for name, counter in counts.items()}
    digests = _most_frequent(Counter(letter.stack_digest for letter in all_letters))
    return by_kind | {"stack_digests": [_facet(*each) | _example(examples[each[0]]) for each in digests]}


def _facet(value: str, records: int) -> dict[str, Any]:
    return {"value": value, "records": records}


def _example(letter: DeadLetter) -> dict[str, Any]:
    return {"frame": letter.stack_frame, "message": letter.message, "example": str(letter.place)}


def _most_frequent(counter: Counter[str]) -> list[tuple[str, int]]:
    return sorted(counter.items(), key=lambda each: (-each[1], each[0]))[:MAX_FACETS]
