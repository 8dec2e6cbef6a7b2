"""The days of the demonstration, and the truth that its predictions are compared with."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

from headrace.database.data_dir import DataDir
from headrace.run.demonstration import next_day
from headrace.run.outcome import truth_of
from headrace.run.simulation import season_end


def test_the_first_day_to_live_through_follows_the_season(tmp_path: Path) -> None:
    assert next_day(DataDir(tmp_path)).day == season_end() + timedelta(days=1)


def test_a_day_that_was_begun_is_not_begun_again(tmp_path: Path) -> None:
    first = next_day(DataDir(tmp_path))

    first.begin()

    assert next_day(DataDir(tmp_path)).day == first.day + timedelta(days=1)


def test_the_truth_is_named_by_event() -> None:
    row = {"race_stadium_number": 3, "race_number": 11, "p_win_card": [0.6, 0.4], "p_win_observed": None}

    assert truth_of([row], date(2026, 3, 2), "p_win_card") == {"simulator:2026-03-02:03:11": [0.6, 0.4]}
    assert not truth_of([row], date(2026, 3, 2), "p_win_observed")
