"""The layout of tables in a terminal."""

from __future__ import annotations

from services.predictor.evaluation.bootstrap import Interval
from services.predictor.evaluation.tables import Cell, format_table


def test_texts_are_left_aligned_and_numbers_right_aligned() -> None:
    rows: list[dict[str, Cell]] = [
        {"model": "base rate", "events": 4652, "log-loss": 1.35844},
        {"model": "network", "events": 52, "log-loss": float("nan"), "gain": Interval(-0.0123, -0.02, -0.004)},
    ]

    assert format_table(rows).splitlines() == [
        "model      events  log-loss                        gain",
        "base rate   4,652    1.3584                           -",
        "network        52         -  -0.0123 [-0.0200, -0.0040]",
    ]


def test_intervals_show_a_sign_except_in_unsigned_columns() -> None:
    rows: list[dict[str, Cell]] = [
        {"level": Interval(0.98, 0.95, 1.01), "difference": Interval(0.02, 0.01, 0.03)},
        {"level": Interval(float("nan"), float("nan"), float("nan")), "difference": None},
    ]

    assert format_table(rows, digits=2, unsigned_columns=("level",)).splitlines() == [
        "            level            difference",
        "0.98 [0.95, 1.01]  +0.02 [+0.01, +0.03]",
        "                -                     -",
    ]
