"""Filters dead letters, counts them by kind, and decides which of them a redrive may send back."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Literal

from shared.ops.dead_letters import Letter, Place, State, place_of

Verdict = Literal["selected", "settled", "over_cap"]

# A record that failed this often will fail again; an operator can lift the cap with `force` after fixing the cause.
MOST_REDRIVES = 5
MOST_FACETS = 50


@dataclass(frozen=True)
class Filter:
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

    def matches(self, letter: Letter, state: State) -> bool:
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
        return re.compile(".*".join(map(re.escape, re.split(r"\*+", self.key))), re.DOTALL)

    def as_json(self) -> dict[str, Any]:
        given = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {
            name: value.isoformat() if isinstance(value, datetime) else value
            for name, value in given.items()
            if value is not None
        }

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> Filter:
        times = {name: datetime.fromisoformat(said[name]) for name in ("since", "until") if name in said}
        return cls(**{**said, **times})


@dataclass(frozen=True)
class Selection:
    """Selects letters at `places`, or the letters that the filter matches if `places` is None.

    Both are limited to the offsets of `spans`: partition to (begin, end), end exclusive. `force` lifts the cap on
    redrives.
    """

    spans: Mapping[int, tuple[int, int]]
    places: frozenset[Place] | None = None
    filter: Filter = Filter()
    force: bool = False

    def meant(self, letter: Letter) -> bool:
        """Tells whether the letter is selected, whether or not it is still open."""
        begin, end = self.spans.get(letter.place.partition, (0, 0))
        if not begin <= letter.place.offset < end:
            return False
        return letter.place in self.places if self.places is not None else self.filter.matches(letter, "open")

    def redrives(self, letter: Letter, settled: Collection[Place]) -> Verdict | None:
        """What a redrive does with the letter; None if the letter is not selected."""
        if not self.meant(letter):
            return None
        if letter.place in settled:
            return "settled"
        return "selected" if self.force or letter.redrives < MOST_REDRIVES else "over_cap"

    def as_json(self) -> dict[str, Any]:
        """The JSON stored as an operation's target."""
        return {
            "spans": {str(partition): list(span) for partition, span in self.spans.items()},
            "ids": None if self.places is None else [str(place) for place in sorted(self.places)],
            "filter": self.filter.as_json(),
            "force": self.force,
        }

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> Selection:
        ids = said.get("ids")
        return cls(
            {int(partition): (int(span[0]), int(span[1])) for partition, span in said["spans"].items()},
            None if ids is None else frozenset(place for text in ids if (place := place_of(text)) is not None),
            Filter.from_json(said.get("filter", {})),
            bool(said.get("force", False)),
        )


def facets(letters: Iterable[Letter]) -> dict[str, list[dict[str, Any]]]:
    """Counts letters by cause, stage, topic, day and stack digest, the most frequent value first.

    Each kind lists at most MAX_FACETS values. A stack digest also shows the first of its letters as an example.
    """
    held = list(letters)
    examples = {letter.stack_digest: letter for letter in reversed(held)}
    counts = {
        "causes": Counter(letter.cause for letter in held),
        "stages": Counter(letter.stage for letter in held),
        "topics": Counter(letter.topic for letter in held),
        "days": Counter(letter.at.date().isoformat() for letter in held),
    }
    found = {name: [_counted(*each) for each in _most_first(counter)] for name, counter in counts.items()}
    digests = _most_first(Counter(letter.stack_digest for letter in held))
    return found | {"stack_digests": [_counted(*each) | _example(examples[each[0]]) for each in digests]}


def _counted(value: str, records: int) -> dict[str, Any]:
    return {"value": value, "records": records}


def _example(letter: Letter) -> dict[str, Any]:
    return {"frame": letter.stack_frame, "message": letter.message, "example": str(letter.place)}


def _most_first(counter: Counter[str]) -> list[tuple[str, int]]:
    return sorted(counter.items(), key=lambda each: (-each[1], each[0]))[:MOST_FACETS]
