"""Tables read well in a terminal."""

from __future__ import annotations

from services.predictor.judge.paired import Interval
from services.predictor.judge.tables import Cell, table


def test_texts_stand_left_and_numbers_right() -> None:
    rows: list[dict[str, Cell]] = [
        {"model": "base rate", "events": 4652, "log-loss": 1.35844},
        {"model": "network", "events": 52, "log-loss": float("nan"), "gain": Interval(-0.0123, -0.02, -0.004)},
    ]

    assert table(rows).splitlines() == [
        "model      events  log-loss                        gain",
        "base rate   4,652    1.3584                           -",
        "network        52         -  -0.0123 [-0.0200, -0.0040]",
    ]
