"""What is judged, and on which events models are set beside each other."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest

from services.predictor.data.events import EntryFacts, EventFacts, Events, events_of
from services.predictor.data.instants import day_number
from services.predictor.data.targets import Terciles
from services.predictor.evaluation.bootstrap import Interval
from services.predictor.evaluation.comparison import (
    EvaluationSet,
    Forecast,
    difference_table,
    eligible,
    is_complete,
    month_table,
    quality_row,
    quality_table,
)

FIRST, LAST = date(2031, 5, 30), date(2031, 6, 2)
TERCILES = Terciles(amount=(1000.0, 3000.0), timing_s=(0.12, 0.18))


def event(day: date, number: int, places: tuple[float | None, ...], status: str = "settled") -> EventFacts:
    entries = [
        EntryFacts(slot=slot, entity=f"e{slot}", place=place, timing_s=0.1 * slot)
        for slot, place in enumerate(places, 1)
    ]
    return EventFacts(
        event_key=f"made:{day}:07:{number:02}",
        session_key=f"made:{day}:07",
        day=day_number(day),
        venue=7,
        number=number,
        status=status,
        entries=entries,
        amount=2000.0,
    )


def made(*found: EventFacts) -> Events:
    return events_of(found, 3)


def four() -> EvaluationSet:
    """The first slot wins two in May, the second and the third one each in June."""
    return EvaluationSet.of(
        made(
            event(FIRST, 1, (1, 2, 3)), event(FIRST, 2, (1, 3, 2)), event(LAST, 1, (2, 1, 3)), event(LAST, 2, (3, 2, 1))
        ),
        TERCILES,
    )


def always(*win: float) -> Forecast:
    return Forecast(np.tile(win, (4, 1)))


def test_judged_are_full_events_with_one_winner_of_the_days_asked_for() -> None:
    events = made(
        event(FIRST, 1, (1, 2, 3)),
        event(FIRST, 2, (1, 1, 3)),  # a dead heat
        event(FIRST, 3, (1, 2)),  # a slot is empty
        event(FIRST, 4, (None, None, None), status="cancelled"),
        event(FIRST, 5, (1, 2, None)),  # one did not come in
        event(date(2031, 5, 29), 1, (1, 2, 3)),
        event(LAST, 1, (1, 2, 3)),
        event(date(2031, 6, 3), 1, (1, 2, 3)),
    )

    assert eligible(events, FIRST, LAST).tolist() == [0, 4, 6]


def test_only_what_is_said_is_judged() -> None:
    judged, win = four(), always(0.5, 0.25, 0.25).win
    whole = Forecast(win, np.full((4, 3), 0.5), np.full((4, 3), 1 / 3), np.full((4, 3, 3), 1 / 3))

    assert set(quality_row(judged, Forecast(win))) == {"log_loss", "top1", "brier", "ece_all", "ece_top"}
    figures = quality_row(judged, whole)
    assert figures["log_loss"] == pytest.approx((2 * np.log(2) + 2 * np.log(4)) / 4)
    assert [figures["trend_log_loss"], figures["start_class_log_loss"]] == pytest.approx([np.log(3)] * 2)
    assert figures["top1"] == 0.5


def test_a_negative_difference_says_that_the_first_is_better() -> None:
    opinions = {"sharp": always(0.6, 0.2, 0.2), "dull": always(1 / 3, 1 / 3, 1 / 3)}

    (row,) = difference_table(four(), opinions, "dull", seed=0)

    assert (row["log-loss of"], row["less that of"]) == ("dull", "sharp")
    assert isinstance(row["difference"], Interval)
    assert row["difference"].mean == pytest.approx(np.log(3) + (2 * np.log(0.6) + 2 * np.log(0.2)) / 4)
    assert [each["model"] for each in quality_table(four(), opinions)] == ["sharp", "dull"]


def test_months_stand_apart_in_their_order() -> None:
    rows = month_table(four(), {"model": always(0.6, 0.2, 0.2), "base": always(0.5, 0.25, 0.25)}, "model", seed=0)

    assert [(row["month"], row["events"]) for row in rows] == [("2031-05", 2), ("2031-06", 2)]
    assert [row["base"] for row in rows] == pytest.approx([np.log(2), np.log(4)])
    assert isinstance(rows[0]["model"], Interval)
    assert rows[0]["model"].mean == pytest.approx(-np.log(0.6))


def test_probabilities_are_complete_when_they_sum_to_one_over_the_slots_taken() -> None:
    events = made(event(FIRST, 1, (1, 2, 3)), event(FIRST, 2, (1, 2)))

    assert is_complete(np.array([[0.5, 0.3, 0.2], [0.6, 0.4, 0.0]]), events)
    assert not is_complete(np.array([[0.5, 0.3, 0.1], [0.6, 0.4, 0.0]]), events)
    assert not is_complete(np.array([[0.5, 0.3, 0.2], [0.6, 0.3, 0.1]]), events)
