"""Intervals and axes as lines of text."""

from __future__ import annotations

import pytest

from headrace.plots.text_chart import Scale, axis_line, interval_line

NAN = float("nan")
SCALE = Scale(0.0, 1.0, 11)


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ((0.2, 0.4, 0.6, 0.8), "  ├─●─┤ |"),
        ((0.2, 0.4, 0.6, 0.4), "  ├─◉─┤"),
        ((0.2, 0.4, 0.6, 0.3), "  ├|●─┤"),
        ((0.4, 0.4, 0.4, NAN), "    ●"),
        ((NAN, NAN, NAN, 0.9), "         |"),
        ((-1.0, 0.0, 2.0, NAN), "●─────────┤"),
        ((NAN, NAN, NAN, NAN), ""),
    ],
)
def test_an_interval_is_drawn_to_scale(values: tuple[float, float, float, float], line: str) -> None:
    assert interval_line(SCALE, *values) == line


def test_the_last_tick_ends_at_the_edge() -> None:
    assert axis_line(SCALE, {0.0: "0", 0.5: "50", 1.0: "100"}) == "0    50 100"
