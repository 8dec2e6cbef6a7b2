"""Small pieces of text: numbers, durations, bars and charts of characters."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

LEVELS = "▁▂▃▄▅▆▇█"


def duration(seconds: float) -> str:
    """As 1:23, or 1:02:03 from an hour on."""
    minutes, second = divmod(int(max(0.0, seconds)), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def number_of(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def percent(fraction: float) -> str:
    return f"{100 * fraction:.0f} %"


def bar(fraction: float, width: int) -> str:
    """Exactly `width` characters, filled in steps of a half. Thin, so that bars in neighbouring rows do not touch."""
    whole, half = divmod(round(min(1.0, max(0.0, fraction)) * width * 2), 2)
    return ("━" * whole + "╸" * half).ljust(width)


def sparkline(values: Sequence[float], width: int) -> str:
    """The last `width` values relative to the highest of them, right-aligned; a blank where nothing happened."""
    shown = list(values)[-width:] if width > 0 else []
    top = max(shown, default=0.0)
    marks = [LEVELS[round((len(LEVELS) - 1) * value / top)] if value > 0 else " " for value in shown]
    return "".join(marks).rjust(max(0, width))


def printable(text: str) -> str:
    """One line without control and format characters: names come from documents that strangers wrote."""
    return " ".join("".join(" " if unicodedata.category(c)[0] == "C" else c for c in text).split())
