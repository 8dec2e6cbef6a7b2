"""The demonstration's days, and what is said of its predictions."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

from headrace.database.data_dir import DataDir
from headrace.run.demonstration import lines_of_scores, next_day, truth_of
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


def test_scores_are_told_with_the_best_possible_and_the_base_rate() -> None:
    score = {"n": 48, "log_loss": 1.36, "truth_log_loss": 1.3, "base_log_loss": 1.5123}

    assert lines_of_scores({"card": score}) == [
        "from the card: 48 events, log-loss 1.360 (a perfect learner 1.300, base rate 1.512)"
    ]
