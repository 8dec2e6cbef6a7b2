"""What may be redriven or discarded now: a selection of dead letters, and who else has a hand on them.

Within the caller's transaction, which holds `dead_letters_table.lock`: what is decided here stays so until it is
written down.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from shared.database.connection import DbConnection
from shared.ops.dead_letter_choice import MOST_REDRIVES, Filter, Selection
from shared.ops.dead_letters import Letter, Place
from shared.ops.operations import NotPossible
from shared.ops.tables import dead_letters as dead_letters_table
from shared.runtime.dead_letters.index import DeadLetterIndex

# In a message, names of letters and not all of them.
MOST_NAMED = 5


@dataclass(frozen=True)
class Choice:
    """A selection with what it comes to: the letters that are selected, and how many are left out and why."""

    selection: Selection
    selected: Sequence[Letter]
    settled: int
    over_cap: int
    unknown: Sequence[Place]

    @property
    def counts(self) -> dict[str, int]:
        return {
            "selected": len(self.selected),
            "settled": self.settled,
            "over_cap": self.over_cap,
            "unknown": len(self.unknown),
        }

    def require_some(self) -> None:
        """Raises NotPossible where there is nothing to do, or something was named that is not there."""
        if self.unknown:
            raise NotPossible(
                f"there is no dead letter at {_named(self.unknown)} (any more): GET /v1/dead-letters lists those there"
                " are"
            )
        if not self.selected:
            raise NotPossible(
                f"nothing to do: of what was asked for, {self.settled} are settled already and {self.over_cap} were"
                f" redriven {MOST_REDRIVES} times (`force` lifts that)"
            )


def selection_of(index: DeadLetterIndex, places: Iterable[Place] | None, wanted: Filter, *, force: bool) -> Selection:
    """Of what the index knows now."""
    return Selection(index.spans(), None if places is None else frozenset(places), wanted, force)


def choose(connection: DbConnection, service: str, index: DeadLetterIndex, selection: Selection) -> Choice:
    """The selection pinned to as few offsets as hold what is selected.

    Raises NotPossible where an open redrive may send one of them back too.
    """
    states = dead_letters_table.states(connection, service)
    letters = index.letters()
    verdicts = [selection.redrives(letter, states.keys()) for letter in letters]
    selected = [letter for letter, verdict in zip(letters, verdicts, strict=True) if verdict == "selected"]
    for operation in dead_letters_table.open_redrives(connection, service):
        other = Selection.from_json(operation.target)
        if both := [letter.place for letter in selected if other.meant(letter)]:
            raise NotPossible(
                f"operation {operation.id} is sending {_named(both)} back already; wait for it, or cancel it first"
            )
    unknown = sorted(place for place in selection.places or () if index.get(place) is None)
    pinned = replace(selection, spans=_around([letter.place for letter in selected]))
    return Choice(pinned, selected, verdicts.count("settled"), verdicts.count("over_cap"), unknown)


def require_there(index: DeadLetterIndex, selection: Selection) -> None:
    """Raises NotPossible where retention took something that a plan is pinned to."""
    spans = index.spans()
    for partition, (begin, _) in sorted(selection.spans.items()):
        earliest = spans.get(partition, (0, 0))[0]
        if begin < earliest:
            raise NotPossible(
                f"this plan cannot be executed any more: the earliest dead letter of partition {partition} is now"
                f" {partition}/{earliest}, and the plan begins at {partition}/{begin}. Make a new one"
            )


def _around(places: Sequence[Place]) -> dict[int, tuple[int, int]]:
    offsets: dict[int, list[int]] = {}
    for place in places:
        offsets.setdefault(place.partition, []).append(place.offset)
    return {partition: (min(each), max(each) + 1) for partition, each in sorted(offsets.items())}


def _named(places: Sequence[Place]) -> str:
    more = len(places) - MOST_NAMED
    return ", ".join(str(place) for place in places[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
