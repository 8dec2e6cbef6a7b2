"""Which dead letters are meant, how many there are of each kind, and which of them may be sent back."""

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

# A record that failed so often will fail again, unless a person says that something was mended.
MOST_REDRIVES = 5
MOST_FACETS = 50


@dataclass(frozen=True)
class Filter:
    """Which letters are meant; what is not given leaves none out. `key` is a pattern in which * stands for anything;
    `since` and `until` are of the moment a letter was put there, `until` not among them."""

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
    """Letters to work on: those at `places`, or else those that the filter matches; among the offsets of `spans`
    (partition: from, to before). `force` lifts the cap on redrives."""

    spans: Mapping[int, tuple[int, int]]
    places: frozenset[Place] | None = None
    filter: Filter = Filter()
    force: bool = False

    def meant(self, letter: Letter) -> bool:
        """Whatever became of it."""
        begin, end = self.spans.get(letter.place.partition, (0, 0))
        if not begin <= letter.place.offset < end:
            return False
        return letter.place in self.places if self.places is not None else self.filter.matches(letter, "open")

    def redrives(self, letter: Letter, settled: Collection[Place]) -> Verdict | None:
        """What a redrive does with it; None: it is not meant."""
        if not self.meant(letter):
            return None
        if letter.place in settled:
            return "settled"
        return "selected" if self.force or letter.redrives < MOST_REDRIVES else "over_cap"

    def as_json(self) -> dict[str, Any]:
        """As it is kept in an operation's target."""
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
    """How many letters there are of each kind, the most frequent first; for a way to fail, the first one given."""
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
