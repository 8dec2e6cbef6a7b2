"""Numbers, bars and charts of characters."""

from __future__ import annotations

import pytest

from headrace.progress.text import bar, duration, printable, sparkline


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (9.9, "0:09"), (83, "1:23"), (3723, "1:02:03"), (-1, "0:00")]
)
def test_a_duration_is_as_short_as_it_can_be(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(("fraction", "text"), [(0, "    "), (0.5, "━━  "), (0.625, "━━╸ "), (1, "━━━━"), (7, "━━━━")])
def test_a_bar_has_its_width_and_steps_of_a_half(fraction: float, text: str) -> None:
    assert bar(fraction, 4) == text


def test_a_sparkline_shows_the_last_values_relative_to_the_highest() -> None:
    assert sparkline([9, 0, 4, 8], 3) == " ▅█"
    assert sparkline([8], 4) == "   █"
    assert sparkline([], 2) == "  "
    assert sparkline([1.0], 0) == ""


def test_control_characters_and_direction_marks_are_not_printed() -> None:
    assert printable("a\x1b[31mb\u202ec\nd") == "a [31mb c d"
