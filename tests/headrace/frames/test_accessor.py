"""The accessor: figures that follow from few rows by hand, the intervals of the back-test, and errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from headrace.frames import BadArgument, Headrace, InvalidFrame
from services.predictor.evaluation.bootstrap import clusters_of, mean_difference, ratio
from tests.headrace.frames.conftest import NEXT
from tests.services.loader.facts import DAY, key

EVENTS = 60
RANDOM = np.random.default_rng(3)


def synthetic_results(first_day: str = "2026-01-01") -> pd.DataFrame:
    """Two slots per event, three events per day and venue; slot 1 wins two of three."""
    rows = []
    for event in range(EVENTS):
        day = pd.Timestamp(first_day) + pd.Timedelta(days=event // 6)
        for slot in (1, 2):
            wins = (event % 3 == 0) == (slot == 2)
            rows.append({
                "event_key": f"{first_day}/{event}", "slot": slot, "place": 1 if wins else 2, "date": day,
                "venue": 1 + event // 3 % 2, "number": event % 3 + 1, "win_amount": (150 if slot == 1 else 280) * wins,
            })  # fmt: skip
    return pd.DataFrame(rows).astype({"slot": "Int16", "place": "Int16", "venue": "Int32", "win_amount": "Int64"})


def synthetic_predictions(results: pd.DataFrame, first_slot: dict[str, float]) -> pd.DataFrame:
    """P(win) of slot 1 by model; slot 2 has the rest."""
    made = pd.Timestamp("2026-01-01", tz="UTC")
    constants: dict[str, Any] = {"head": "result", "class": "win", "state": "card", "as_of": made, "shadow": False}
    parts = [
        results[["event_key", "slot"]].assign(
            probability=np.where(results.slot == 1, p, 1 - p), model_version=model, **constants
        )
        for model, p in first_slot.items()
    ]
    return pd.concat(parts, ignore_index=True).astype({"model_version": "category", "state": "category"})


def clusters(results: pd.DataFrame) -> Any:
    return clusters_of(results.date.to_numpy("datetime64[D]").astype(np.int64), results.venue.to_numpy(np.int64))


def test_calibration_compares_probability_and_frequency() -> None:
    results = synthetic_results()

    table = synthetic_predictions(results, {"m": 0.62}).headrace.calibration(bins=10, results=results)

    assert table["from"].tolist() == [0.3, 0.6]
    assert table["predictions"].tolist() == [EVENTS, EVENTS]
    assert np.allclose(table["probability"], [0.38, 0.62])
    assert np.allclose(table["frequency"], [1 / 3, 2 / 3])
    assert (table["low"] <= table["frequency"]).all()
    assert (table["frequency"] <= table["high"]).all()


def test_against_another_model_is_the_paired_difference_of_the_backtest() -> None:
    results = synthetic_results()
    predictions = synthetic_predictions(results, {"one": 0.7, "two": 0.5})
    winners = results[results.place == 1]
    loss_one = -np.log(np.where(winners.slot == 1, 0.7, 1 - 0.7))

    (row,) = predictions.headrace.against("two", results=results).to_dict("records")

    expected = mean_difference(loss_one - np.log(2), clusters(winners))
    assert (row["model_version"], row["events"]) == ("one", EVENTS)
    assert np.allclose([row["difference"], row["low"], row["high"]], expected)
    assert np.isclose(row["log_loss"], loss_one.mean())
    assert np.isclose(row["other_log_loss"], np.log(2))


def test_the_base_rate_comes_from_results_before_the_first_prediction() -> None:
    earlier, results = synthetic_results("2025-06-01"), synthetic_results()
    share = (EVENTS * 2 / 3 + 1) / (EVENTS + 2)
    predictions = synthetic_predictions(results, {"m": share})

    (row,) = predictions.headrace.against(results=pd.concat([earlier, results])).to_dict("records")

    assert np.allclose([row["difference"], row["low"], row["high"]], 0)
    (without,) = predictions.headrace.against("base", results=results).to_dict("records")
    assert np.isclose(without["other_log_loss"], np.log(2))


def test_only_the_last_prediction_of_an_event_counts() -> None:
    results = synthetic_results()
    late = synthetic_predictions(results, {"m": 0.7})
    early = synthetic_predictions(results, {"m": 0.1}).assign(as_of=pd.Timestamp("2025-12-31", tz="UTC"))
    both = pd.concat([early, late], ignore_index=True)

    assert both.headrace.calibration(results=results).equals(late.headrace.calibration(results=results))


def test_events_with_two_winners_do_not_count() -> None:
    results = synthetic_results()
    tied = results.assign(place=results.place.where(results.event_key != results.event_key[0], 1))

    table = synthetic_predictions(results, {"m": 0.62}).headrace.calibration(results=tied)

    assert table["predictions"].sum() == 2 * (EVENTS - 1)


def test_returns_are_means_with_intervals_by_group() -> None:
    results = synthetic_results()

    table = results.headrace.returns(by=["slot"], market="win")

    assert table["slot"].tolist() == [1, 2]
    assert table["bets"].tolist() == [EVENTS, EVENTS]
    assert table["hits"].tolist() == [40, 20]
    assert np.allclose(table["return"], [1.5 * 2 / 3, 2.8 / 3])
    first = results[results.slot == 1]
    expected = ratio(first.win_amount.to_numpy(np.float64) / 100, np.ones(EVENTS), clusters(first))
    assert np.allclose(table.loc[0, ["return", "low", "high"]].to_numpy(np.float64), expected)


def test_returns_without_groups_are_one_row() -> None:
    assert len(synthetic_results().headrace.returns()) == 1


@pytest.mark.parametrize("market", ["win", "place"])
@pytest.mark.parametrize("scope", ["slot", "venue", "entity"])
def test_returns_equal_the_return_rates_of_the_database(hr: Headrace, market: str, scope: str) -> None:
    column = {"entity": "entity_key"}.get(scope, scope)
    rates = hr.return_rates(scope=scope, market=market)
    table = hr.results().headrace.returns(by=column, market=market)

    actual = {str(row[column]): (row["bets"], row["return"]) for row in table.to_dict("records")}
    expected = {row["key"].lstrip("0"): (row["bets"], row["rate"]) for row in rates.to_dict("records")}
    assert actual.keys() == expected.keys()
    for name, figures in expected.items():
        assert actual[name] == pytest.approx(figures)


BACKTEST = """date,stadium,race,boat,p_win,p_top3,bet
{day},7,1,1,0.5,0.9,0
{day},7,1,2,0.3,0.8,1
{day},7,1,3,0.1,0.7,0
{day},7,1,4,0.1,0.6,0
{day},7,2,1,0.4,0.9,1
{day},7,2,2,0.6,0.9,0
{next},7,1,1,0.7,0.9,0
{next},7,1,2,0.3,0.9,0
"""


@pytest.fixture
def backtest(hr: Headrace, tmp_path: Path) -> pd.DataFrame:
    """Slot 2 wins event 1, after a correction; slot 1 wins event 2; the next day has no result."""
    (tmp_path / "march.csv").write_text(BACKTEST.format(day=DAY, next=NEXT))
    return hr.backtest(tmp_path / "march.csv", source="river")


def test_a_backtest_has_the_results_beside_its_probabilities(backtest: pd.DataFrame) -> None:
    assert list(backtest) == ["date", "venue", "number", "slot", "p_win", "p_top3", "bet", "won", "win_amount"]
    assert backtest.won.fillna(False).tolist() == [False, True, False, False, True, False, False, False]
    assert backtest.won.isna().tolist() == [False] * 6 + [True] * 2
    assert backtest.win_amount.tolist()[4:6] == [160, 0]


def test_figures_of_a_backtest_by_groups(backtest: pd.DataFrame) -> None:
    (whole,) = backtest.headrace.by().to_dict("records")
    months = backtest.headrace.by("month", "venue", "favourite")

    assert (whole["events"], whole["bets"], whole["hits"]) == (3, 2, 1)
    assert np.isclose(whole["log_loss"], -(np.log(0.3) + np.log(0.4)) / 2)
    assert np.isclose(whole["p_favourite"], 0.6)
    assert whole["favourite_won"] == 0
    assert months[["month", "venue", "favourite", "events"]].to_numpy().tolist() == [
        ["2031-05", 7, 1, 2], ["2031-05", 7, 2, 1],
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", BACKTEST.format(day="yesterday", next=NEXT)])
def test_another_file_is_refused(hr: Headrace, tmp_path: Path, text: str) -> None:
    (tmp_path / "other.csv").write_text(text)

    with pytest.raises(InvalidFrame, match=r"other\.csv is not a CSV file of `headrace backtest`"):
        hr.backtest(tmp_path / "other.csv")


def test_a_missing_file_is_named(hr: Headrace, tmp_path: Path) -> None:
    with pytest.raises(BadArgument, match=r"nowhere\.csv.*headrace backtest --out"):
        hr.backtest(tmp_path / "nowhere.csv")


@pytest.mark.parametrize(
    ("call", "parts"),
    [
        (lambda frame: frame.headrace.wide(), ("measures", "Entries")),
        (lambda frame: frame.headrace.returns(), ("hr.results(...)", "event_key")),
        (lambda frame: frame.headrace.calibration(), ("hr.predictions(...)", "probability")),
        (lambda frame: frame.headrace.against(), ("hr.predictions(...)", "model_version")),
        (lambda frame: frame.headrace.by("month"), ("hr.backtest(...)", "p_win")),
        (lambda frame: frame.headrace.validate(), ('validate("events")',)),
        (lambda frame: frame.headrace.validate("evnts"), ("did you mean events",)),
        (lambda frame: frame.headrace.validate("events"), ("not one of events", "event_key")),
    ],
)
def test_a_frame_without_the_columns_is_refused(call: Any, parts: tuple[str, ...]) -> None:
    with pytest.raises(InvalidFrame) as raised:
        call(pd.DataFrame({"slott": [1]}))

    assert [part for part in parts if part not in str(raised.value)] == []


def test_other_bad_arguments_are_explained(hr: Headrace) -> None:
    results, predictions = synthetic_results(), synthetic_predictions(synthetic_results(), {"m": 0.5})

    with pytest.raises(BadArgument, match="'exacta'; there are: win"):
        results.headrace.returns(market="exacta")
    with pytest.raises(BadArgument, match="'n' in the frame; there are: base, m"):
        predictions.headrace.against("n", results=results)
    with pytest.raises(InvalidFrame, match=r"hr\.results"):
        predictions.headrace.calibration()
    with pytest.raises(InvalidFrame, match="number: in_range"):
        hr.events(event=key(1)).assign(number=pd.array([-1], dtype="Int32")).headrace.validate()
