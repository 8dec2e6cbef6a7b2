"""Rates by venue and slot: their values, and the lines of text."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from headrace.plots.errors import NothingToPlot
from headrace.plots.rates import rates_by_venue, rates_figure, rates_text
from tests.headrace.plots.frames import results_of

RESULTS = pd.concat([results_of([1, 1, 2, 1]), results_of([3, 1], venue=12)], ignore_index=True)


def figures(rates: pd.DataFrame, venue: str, slot: int) -> tuple[float, ...]:
    (row,) = rates[(rates["venue"] == venue) & (rates["slot"] == slot)].to_numpy().tolist()
    return tuple(row[2:])


def test_rates_count_wins_and_payouts_of_each_venue_and_of_all() -> None:
    rates = rates_by_venue(RESULTS)

    assert figures(rates, "07", 1) == (4, 0.75, 1.5)
    assert figures(rates, "12", 3) == (2, 0.5, 1.0)
    assert figures(rates, "all", 1) == pytest.approx((6, 4 / 6, 8 / 6))
    assert rates.attrs["title"] == "Wins by venue and slot: 18 entries, 2026-01-05"


def test_events_without_a_winner_and_unknown_payouts_do_not_count() -> None:
    unplaced = results_of([1], day="2026-01-06").assign(place=pd.array([None, 2, 3], dtype="Int16"))
    unpaid = results_of([1], day="2026-01-07", win_amount=pd.array([None] * 3, dtype="Int64"))

    rates = rates_by_venue(pd.concat([RESULTS, unplaced, unpaid]))

    assert figures(rates, "07", 1) == (5, 0.8, 1.5)


def test_without_one_source_and_a_result_there_is_nothing_to_plot() -> None:
    with pytest.raises(NothingToPlot, match="no event of these days and venues has a result with a winner"):
        rates_by_venue(RESULTS[:0])
    with pytest.raises(NothingToPlot, match=r"several sources \(lake, river\)"):
        rates_by_venue(pd.concat([RESULTS, RESULTS.assign(source="lake")]))


def test_the_text_has_both_tables_in_80_columns_and_marks_rare_entries() -> None:
    lines = rates_text(rates_by_venue(RESULTS))

    assert lines == [
        "Wins by venue and slot: 18 entries, 2026-01-05",
        "",
        "       share of wins, %    mean return of one unit staked on a win",
        "venue      1     2     3       1     2     3",
        "   07  (75.0)(25.0) (0.0)  (1.50)(0.50)(0.00)",
        "   12  (50.0) (0.0)(50.0)  (1.00)(0.00)(1.00)",
        "  all  (66.7)(16.7)(16.7)  (1.33)(0.33)(0.33)",
        "",
        "(x): fewer than 30 entries",
    ]


def test_a_source_without_payouts_has_one_table_and_one_heat_map() -> None:
    many = results_of([1, 2, 3] * 20, win_amount=pd.array([None] * 180, dtype="Int64"))
    rates = rates_by_venue(many)

    (axes,) = rates_figure(rates).axes

    assert [text.get_text() for text in axes.texts] == ["33.3"] * 6
    assert [label.get_text() for label in axes.get_yticklabels()] == ["07", "all"]
    assert "mean return of one unit staked on a win" not in "\n".join(rates_text(rates))


def test_the_heat_map_has_the_numbers_and_colours_them_by_their_difference() -> None:
    left, right = rates_figure(rates_by_venue(results_of([1, 1, 2] * 20))).axes

    assert [text.get_text() for text in left.texts[:3]] == ["66.7", "33.3", "0.0"]
    assert [text.get_text() for text in right.texts[:3]] == ["1.33", "0.67", "0.00"]
    colours = np.asarray(right.images[0].get_array())
    assert np.allclose(colours[0], [2 / 3, 0, -2 / 3])
    assert np.allclose(np.asarray(left.images[0].get_array()), 0)  # one venue: its rates are the means
