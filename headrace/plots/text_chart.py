"""Rows of text with an interval on a scale, readable in 80 columns without colour."""

from __future__ import annotations

import math
from typing import NamedTuple

WIDTH = 80
MEAN, REFERENCE, BOTH = "●", "|", "◉"


class Scale(NamedTuple):
    """Values from `low` to `high` on `width` characters."""

    low: float
    high: float
    width: int

    def column(self, value: float) -> int:
        share = (value - self.low) / (self.high - self.low)
        return round(min(1.0, max(0.0, share)) * (self.width - 1))


def interval_line(scale: Scale, low: float, mean: float, high: float, reference: float) -> str:
    """`├──●──┤` and `|` for the reference. NaN is left out; what is outside of the scale stands at its end."""
    cells = [" "] * scale.width
    if not math.isnan(low) and not math.isnan(high):
        first, last = scale.column(low), scale.column(high)
        cells[first : last + 1] = "─" * (last + 1 - first)
        cells[first], cells[last] = "├", "┤"
    if not math.isnan(reference):
        cells[scale.column(reference)] = REFERENCE
    if not math.isnan(mean):
        at = scale.column(mean)
        cells[at] = BOTH if cells[at] == REFERENCE else MEAN
    return "".join(cells).rstrip()


def axis_line(scale: Scale, ticks: dict[float, str]) -> str:
    """The texts of the ticks above their places; the last one ends at the right edge."""
    cells = [" "] * scale.width
    for value, text in ticks.items():
        at = min(scale.column(value), scale.width - len(text))
        cells[at : at + len(text)] = text
    return "".join(cells).rstrip()
