"""What an entity's past starts say."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from services.predictor.facts import PAST_STARTS
from services.predictor.history import DAY_US, HISTORY, SHRINK, PastStarts, history_of

WIN_RATE, TOP3_RATE = np.array([0.5, 0.3, 0.2]), np.array([0.8, 0.6, 0.4])


def starts(*rows: tuple[str, float, int, float | None], venue: int = 1) -> pd.DataFrame:
    """(entity, settled at in days, slot, place)"""
    frame = pd.DataFrame(rows, columns=["entity_key", "settled_us", "slot", "place"])
    return frame.assign(
        settled_us=frame["settled_us"] * DAY_US,
        event_key=[f"e{number}" for number in range(len(frame))],
        venue=float(venue),
        course=frame["slot"].astype(np.float64),
        place=frame["place"].astype(np.float64),
        timing_s=0.1 * frame["slot"],
    )


def told(frame: pd.DataFrame, entity: str, as_of_day: float, slot: int = 1, venue: int = 1) -> dict[str, float]:
    past = PastStarts.of(frame)
    as_of = np.array([as_of_day * DAY_US])
    positions = past.known(pd.Series([entity]), as_of)
    row = history_of(past, positions, np.array([slot]), np.array([venue]), as_of, WIN_RATE, TOP3_RATE)[0]
    return dict(zip(HISTORY, row.tolist(), strict=True))


def test_a_start_counts_from_the_instant_its_result_was_known() -> None:
    frame = starts(("a", 1.0, 1, 1.0), ("a", 2.0, 1, 1.0))

    before, at, after = (told(frame, "a", day)["starts"] for day in (1.999999, 2.0, 3.0))

    assert (before, at, after) == (np.log1p(1), np.log1p(2), np.log1p(2))


def test_another_entitys_starts_do_not_count() -> None:
    frame = starts(("a", 1.0, 1, 1.0), ("b", 1.0, 2, 2.0), ("c", 1.0, 3, 3.0))

    assert told(frame, "b", 5.0)["place_60"] == 2.0


def test_only_the_last_starts_count() -> None:
    frame = starts(*(("a", float(day), 1, 6.0) for day in range(10)), *(("a", 10.0 + day, 1, 1.0) for day in range(30)))

    found = told(frame, "a", 100.0)

    assert found["starts"] == np.log1p(PAST_STARTS)
    assert found["place_60"] == 1.0


def test_no_start_is_unknown_and_not_zero() -> None:
    found = told(starts(("a", 1.0, 1, 1.0)), "nobody", 5.0)

    assert found["starts"] == 0.0
    assert all(np.isnan(value) for name, value in found.items() if name != "starts")


def test_no_history_at_all_is_unknown() -> None:
    found = told(starts().astype({"settled_us": np.float64, "slot": np.float64}), "a", 5.0)

    assert np.isnan(found["win_residual_8"])


def test_a_win_from_a_good_slot_says_less_than_one_from_a_bad_slot() -> None:
    good, bad = (told(starts(("a", 1.0, slot, 1.0)), "a", 5.0)["win_residual_8"] for slot in (1, 3))

    assert good == pytest.approx((1 - 0.5) / (1 + SHRINK))
    assert bad == pytest.approx((1 - 0.2) / (1 + SHRINK))


def test_a_recent_win_weighs_more_than_an_old_one() -> None:
    rising = starts(*(("a", float(day), 1, 6.0 if day < 8 else 1.0) for day in range(16)))
    falling = starts(*(("a", float(day), 1, 1.0 if day < 8 else 6.0) for day in range(16)))

    up, down = told(rising, "a", 20.0), told(falling, "a", 20.0)

    assert up["win_residual_8"] > down["win_residual_8"]
    assert up["win_residual_8"] - down["win_residual_8"] > up["win_residual_60"] - down["win_residual_60"]


def test_a_start_without_a_place_is_counted_as_unplaced() -> None:
    found = told(starts(("a", 1.0, 1, None), ("a", 2.0, 1, 1.0)), "a", 5.0)

    assert 0.4 < found["unplaced_20"] < 0.5


def test_a_meeting_ends_after_a_week_and_at_its_venue() -> None:
    frame = starts(("a", 1.0, 1, 1.0))

    during, later, elsewhere = told(frame, "a", 4.0), told(frame, "a", 9.0), told(frame, "a", 4.0, venue=2)

    assert during["meeting_residual"] > 0
    assert np.isnan(later["meeting_residual"])
    assert np.isnan(elsewhere["meeting_residual"])
    assert later["venue_residual"] > 0
