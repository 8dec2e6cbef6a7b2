"""The predictions: the next event with the chances of every entry, and those that have started with their result."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from headrace.progress.frame import EntryForecast, EventForecast, Frame, HitRate
from headrace.progress.text import bar, percent, printable

MINUTES_A_DAY = 24 * 60
NAME_WIDTH, EVENT_WIDTH = 20, 13
# Rows that are wider than this get a bar beside the favourite's chance.
ROW_WIDTH = 90
# Below this height a card of one event would leave no room for the others.
LEAST_FOR_CARD = 16
KNOWN = {"card": "from the card", "observation": "from the card and the observation"}


class Predictions:
    """Fills the height that it is given: a card of the next event, then one row an event."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        height, width = options.height or 20, options.max_width
        upcoming, started = self._frame.details.upcoming, self._frame.details.started
        lines: list[Text] = []
        if upcoming and height >= LEAST_FOR_CARD:
            lines += [*_card(self._frame, upcoming[0], width), Text("")]
            upcoming = upcoming[1:]
        lines.append(_head(width))
        lines += [_row(self._frame, each, width) for each in (*reversed(upcoming[:2]), *started) if each.entries]
        for line in lines[:height]:
            line.truncate(width, overflow="ellipsis")
            yield line


def score_text(score: HitRate) -> str:
    """`the favourite won 17 of 36 (18.2 expected)`; empty before the first result."""
    if not score.settled:
        return f"{score.events} events predicted" if score.events else ""
    return f"the favourite won {score.hits} of {score.settled}, {score.expected_hits:.1f} expected"


def _card(frame: Frame, event: EventForecast, width: int) -> list[Text]:
    title = Text.assemble(
        (f"{printable(event.venue)} {event.number}", "bold"),
        (f"  starts {frame.local(event.starts_at):%H:%M},{_countdown(frame, event)}", "yellow"),
        (f"  {KNOWN.get(event.state, event.state)}", "dim"),
    )
    entries = sorted(event.entries, key=lambda entry: entry.slot)
    return [title, *(_entry_line(entry, entry is event.entries[0], width - NAME_WIDTH - 12) for entry in entries)]


def _entry_line(entry: EntryForecast, is_favourite: bool, bar_width: int) -> Text:
    weight = "bold " if is_favourite else ""
    return Text.assemble(
        _fitted(f" {entry.slot} {printable(entry.name)}", NAME_WIDTH + 3, weight.strip()),
        (f"{percent(entry.probability):>5}  ", weight.strip()),
        (bar(entry.probability, max(4, bar_width)), f"{weight}cyan"),
    )


def _head(width: int) -> Text:
    favourite = f"{'favourite':<{NAME_WIDTH}} chance{' ' * _bar_width(width)}"
    return Text(f"start {'event':<{EVENT_WIDTH}} {favourite}  {'paid':>9}   winner", style="dim")


def _row(frame: Frame, event: EventForecast, width: int) -> Text:
    favourite = event.entries[0]
    chance = f"{percent(favourite.probability):>5} "
    return Text.assemble(
        (f"{frame.local(event.starts_at):%H:%M} ", "dim"),
        _fitted(f"{printable(event.venue)} {event.number}", EVENT_WIDTH),
        _fitted(f"{favourite.slot} {printable(favourite.name)}", NAME_WIDTH),
        (chance + bar(favourite.probability, _bar_width(width)), "cyan"),
        "  ",
        _outcome(frame, event),
    )


def _bar_width(width: int) -> int:
    return max(0, min(16, width - ROW_WIDTH))


def _outcome(frame: Frame, event: EventForecast) -> Text:
    if event.status in {"cancelled", "void"}:
        return Text(f"– {event.status}", style="dim")
    if event.is_hit is None and event in frame.details.upcoming:
        return Text(f"○ starts{_countdown(frame, event)}", style="yellow")
    if event.is_hit is None:
        return Text("… started", style="dim")
    pays = f"{event.payout / 100:6.1f} ×" if event.payout else " " * 8
    if event.is_hit:
        return Text(f"✔{pays}   the favourite", style="green")
    return Text(f"✘{pays}   {_names(event, event.winners)}", style="red")


def _names(event: EventForecast, slots: Sequence[int]) -> str:
    """`4 name 8 %`, with the chance that it was given."""
    entries = [(slot, event.entry(slot)) for slot in slots]
    return ", ".join(
        f"{slot} {printable(entry.name)} {percent(entry.probability)}" if entry else str(slot)
        for slot, entry in entries
    )


def _countdown(frame: Frame, event: EventForecast) -> str:
    if frame.now is None:
        return ""
    minutes = math.ceil((event.starts_at - frame.now).total_seconds() / 60)
    if not 0 < minutes < MINUTES_A_DAY:
        return ""
    return f" in {minutes} min" if minutes < 100 else f" in {minutes // 60} h"


def _fitted(text: str, width: int, style: str = "") -> Text:
    """Padded or cut to `width` cells and followed by a blank; names may be of double width."""
    fitted = Text(text, style=style)
    fitted.truncate(width, overflow="ellipsis", pad=True)
    return fitted + Text(" ")
