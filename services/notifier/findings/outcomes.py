"""Says how a tip came out, for messages that can be edited."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple
from uuid import UUID

from services.notifier.findings.finding import EventDetails, Tip, finding_id
from services.notifier.texts.content import Colour


class TipOutcome(NamedTuple):
    """`line` is the last line of the tip's message from now on."""

    record_id: UUID
    line: str
    colour: Colour


def tip_outcomes(events: Iterable[EventDetails]) -> list[TipOutcome]:
    """For each slot of a settled event, how a tip for it came out. Colour and word say the same."""
    outcomes: list[TipOutcome] = []
    for event in events:
        places = {slot: place for place, slot in event.places}
        if event.status != "settled" or not places:
            continue
        for slot in sorted({*event.names, *places}):
            place = places.get(slot)
            line = "won" if place == 1 else "did not finish" if place is None else f"came in place {place}"
            colour: Colour = "good" if place == 1 else "muted"
            outcomes.append(TipOutcome(finding_id(Tip(event, slot, 0.0, "", "")), f"**Result** {line}", colour))
    return outcomes
