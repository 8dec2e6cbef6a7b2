"""Which events are evaluated, and how models are compared on them."""

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


def events_from(*facts: EventFacts) -> Events:
    return events_of(facts, 3)


def four_events() -> EvaluationSet:
    """The first slot wins two in May, the second and the third one each in June."""
    return EvaluationSet.of(
        events_from(
            event(FIRST, 1, (1, 2, 3)), event(FIRST, 2, (1, 3, 2)), event(LAST, 1, (2, 1, 3)), event(LAST, 2, (3, 2, 1))
        ),
        TERCILES,
    )


def constant_forecast(*win: float) -> Forecast:
    return Forecast(np.tile(win, (4, 1)))


def test_eligible_events_are_complete_have_one_winner_and_lie_in_the_period() -> None:
    events = events_from(
        event(FIRST, 1, (1, 2, 3)),
        event(FIRST, 2, (1, 1, 3)),  # a dead heat
        event(FIRST, 3, (1, 2)),  # a slot is empty
        event(FIRST, 4, (None, None, None), status="cancelled"),
        event(FIRST, 5, (1, 2, None)),  # one did not finish
        event(date(2031, 5, 29), 1, (1, 2, 3)),
        event(LAST, 1, (1, 2, 3)),
        event(date(2031, 6, 3), 1, (1, 2, 3)),
    )

    assert eligible(events, FIRST, LAST).tolist() == [0, 4, 6]


def test_only_the_heads_of_a_forecast_are_evaluated() -> None:
    evaluation_set, win = four_events(), constant_forecast(0.5, 0.25, 0.25).win
    whole = Forecast(win, np.full((4, 3), 0.5), np.full((4, 3), 1 / 3), np.full((4, 3, 3), 1 / 3))

    assert set(quality_row(evaluation_set, Forecast(win))) == {"log_loss", "top1", "brier", "ece_all", "ece_top"}
    figures = quality_row(evaluation_set, whole)
    assert figures["log_loss"] == pytest.approx((2 * np.log(2) + 2 * np.log(4)) / 4)
    assert [figures["trend_log_loss"], figures["start_class_log_loss"]] == pytest.approx([np.log(3)] * 2)
    assert figures["top1"] == 0.5


def test_a_negative_difference_means_that_the_first_is_better() -> None:
    forecasts = {"sharp": constant_forecast(0.6, 0.2, 0.2), "dull": constant_forecast(1 / 3, 1 / 3, 1 / 3)}

    (row,) = difference_table(four_events(), forecasts, "dull", seed=0)

    assert (row["log-loss of"], row["less that of"]) == ("dull", "sharp")
    assert isinstance(row["difference"], Interval)
    assert row["difference"].mean == pytest.approx(np.log(3) + (2 * np.log(0.6) + 2 * np.log(0.2)) / 4)
    assert [each["model"] for each in quality_table(four_events(), forecasts)] == ["sharp", "dull"]


def test_months_have_separate_rows_in_order() -> None:
    rows = month_table(
        four_events(),
        {"model": constant_forecast(0.6, 0.2, 0.2), "base": constant_forecast(0.5, 0.25, 0.25)},
        "model",
        seed=0,
    )

    assert [(row["month"], row["events"]) for row in rows] == [("2031-05", 2), ("2031-06", 2)]
    assert [row["base"] for row in rows] == pytest.approx([np.log(2), np.log(4)])
    assert isinstance(rows[0]["model"], Interval)
    assert rows[0]["model"].mean == pytest.approx(-np.log(0.6))


def test_probabilities_are_complete_if_they_sum_to_one_over_the_occupied_slots() -> None:
    events = events_from(event(FIRST, 1, (1, 2, 3)), event(FIRST, 2, (1, 2)))

    assert is_complete(np.array([[0.5, 0.3, 0.2], [0.6, 0.4, 0.0]]), events)
    assert not is_complete(np.array([[0.5, 0.3, 0.1], [0.6, 0.4, 0.0]]), events)
    assert not is_complete(np.array([[0.5, 0.3, 0.2], [0.6, 0.3, 0.1]]), events)
