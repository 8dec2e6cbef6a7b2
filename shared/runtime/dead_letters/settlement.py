"""Determines which dead letters can be redriven or discarded now, and detects conflicts with open redrives.

Runs inside the caller's transaction, which holds `dead_letters_table.lock`, so that the result stays valid until it is
stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from shared.database.connection import DbConnection
from shared.ops.dead_letter_choice import MAX_REDRIVES, DeadLetterFilter, DeadLetterSelection
from shared.ops.dead_letters import DeadLetter, DeadLetterPlace
from shared.ops.operations import NotPossible
from shared.ops.tables import dead_letters as dead_letters_table
from shared.runtime.dead_letters.index import DeadLetterIndex

# The limit of letters named in a message.
MAX_NAMED = 5


@dataclass(frozen=True)
class PinnedSelection:
    """A selection, the letters that it selects now, and the numbers of letters left out: already settled, over the
    redrive limit. `unknown` are the requested places without a letter."""

    selection: DeadLetterSelection
    selected: Sequence[DeadLetter]
    settled: int
    over_cap: int
    unknown: Sequence[DeadLetterPlace]

    @property
    def counts(self) -> dict[str, int]:
        return {
            "selected": len(self.selected),
            "settled": self.settled,
            "over_cap": self.over_cap,
            "unknown": len(self.unknown),
        }

    def require_selected(self) -> None:
        """Raises NotPossible if no letter is selected, or a requested letter does not exist."""
        if self.unknown:
            raise NotPossible(
                f"there is no dead letter at {_named(self.unknown)}, or no longer: GET /v1/dead-letters lists the"
                " existing ones"
            )
        if not self.selected:
            raise NotPossible(
                f"no dead letter is left to redrive or discard: {self.settled} of the requested ones are already"
                f" settled and {self.over_cap} were redriven {MAX_REDRIVES} times (`force` lifts this limit)"
            )


def selection_of(
    index: DeadLetterIndex, places: Iterable[DeadLetterPlace] | None, criteria: DeadLetterFilter, *, force: bool
) -> DeadLetterSelection:
    """A selection among the letters that the index holds now; `places` None: not limited to certain letters."""
    return DeadLetterSelection(index.spans(), None if places is None else frozenset(places), criteria, force)


def pin_selection(
    connection: DbConnection, service: str, index: DeadLetterIndex, selection: DeadLetterSelection
) -> PinnedSelection:
    """The selection, pinned to the smallest offset ranges that contain the selected letters.

    Raises NotPossible if an open redrive may also redrive one of them.
    """
    states = dead_letters_table.states(connection, service)
    letters = index.letters()
    verdicts = [selection.redrive_verdict(letter, states.keys()) for letter in letters]
    selected = [letter for letter, verdict in zip(letters, verdicts, strict=True) if verdict == "selected"]
    for operation in dead_letters_table.open_redrives(connection, service):
        other = DeadLetterSelection.from_json(operation.target)
        if both := [letter.place for letter in selected if other.selects(letter)]:
            raise NotPossible(
                f"operation {operation.id} is already redriving {_named(both)}; wait for it to end, or cancel it first"
            )
    unknown = sorted(place for place in selection.places or () if index.get(place) is None)
    pinned = replace(selection, spans=_spans_around([letter.place for letter in selected]))
    return PinnedSelection(pinned, selected, verdicts.count("settled"), verdicts.count("over_cap"), unknown)


def require_available(index: DeadLetterIndex, selection: DeadLetterSelection) -> None:
    """Raises NotPossible if retention has removed letters that a plan is pinned to."""
    spans = index.spans()
    for partition, (begin, _) in sorted(selection.spans.items()):
        earliest = spans.get(partition, (0, 0))[0]
        if begin < earliest:
            raise NotPossible(
                f"this plan can no longer be executed: the earliest dead letter of partition {partition} is now"
                f" {partition}/{earliest}, but the plan begins at {partition}/{begin}. Create a new plan"
            )


def _spans_around(places: Sequence[DeadLetterPlace]) -> dict[int, tuple[int, int]]:
    offsets: dict[int, list[int]] = {}
    for place in places:
        offsets.setdefault(place.partition, []).append(place.offset)
    return {partition: (min(each), max(each) + 1) for partition, each in sorted(offsets.items())}


def _named(places: Sequence[DeadLetterPlace]) -> str:
    more = len(places) - MAX_NAMED
    return ", ".join(str(place) for place in places[:MAX_NAMED]) + (f" and {more} more" if more > 0 else "")
