"""Markets pay what the places say, in the shapes the real source shows, at parimutuel prices."""

from __future__ import annotations

import pytest

from simulator.accidents import Finish
from simulator.payouts import MARKETS, combination, payouts, price, win_probability_of, winning_selections

FAIR = dict.fromkeys(range(1, 7), 1 / 6)


@pytest.mark.parametrize(
    ("places", "shape"),
    [
        ((1, 2, 3, 4, 5, 6), (1, 1, 1, 1, 3, 1, 2)),
        ((1, 2, 3, 14, 14, 9), (1, 1, 1, 1, 3, 1, 2)),
        ((1, 2, 3, 14, 14, 14), (1, 0, 1, 1, 0, 1, 2)),
        ((1, 2, 9, 9, 12, 14), (0, 0, 1, 1, 1, 1, 2)),
        ((1, 2, 14, 14, 14, 14), (0, 0, 1, 0, 0, 1, 0)),
        ((1, 2, 3, 3, 5, 6), (2, 2, 1, 1, 5, 1, 2)),
        ((1, 2, 2, 4, 5, 6), (2, 1, 2, 2, 3, 1, 3)),
        ((1, 1, 3, 4, 5, 6), (2, 1, 2, 1, 3, 2, 2)),
        ((1, 2, 3, 4, 4, 6), (1, 1, 1, 1, 3, 1, 2)),
    ],
)
def test_the_shape_of_the_payouts_follows_the_starters_and_the_places(
    places: tuple[int, ...], shape: tuple[int, ...]
) -> None:
    assert tuple(len(winning_selections(Finish(places))[market]) for market in MARKETS) == shape


def test_a_void_race_pays_nothing() -> None:
    assert set(map(len, winning_selections(Finish((14, 14, 14, 14, 14, None), void=True)).values())) == {0}


def test_selections_name_the_boats_best_place_first_or_ascending() -> None:
    by_market = winning_selections(Finish((3, 1, 6, 5, 2, 4)))

    assert {market: [combination(market, s) for s in selections] for market, selections in by_market.items()} == {
        "trifecta": ["2-5-1"],
        "trio": ["1=2=5"],
        "exacta": ["2-5"],
        "quinella": ["2=5"],
        "quinella_place": ["2=5", "1=2", "1=5"],
        "win": ["2"],
        "place": ["2", "5"],
    }


@pytest.mark.parametrize(
    ("market", "selection", "expected"),
    [
        ("win", (1,), 1 / 6),
        ("place", (1,), 1 / 3),
        ("exacta", (1, 2), 1 / 30),
        ("quinella", (1, 2), 1 / 15),
        ("quinella_place", (1, 2), 1 / 5),
        ("trifecta", (1, 2, 3), 1 / 120),
        ("trio", (1, 2, 3), 1 / 20),
    ],
)
def test_among_equals_every_selection_has_its_share(market: str, selection: tuple[int, ...], expected: float) -> None:
    assert win_probability_of(market, selection, FAIR) == pytest.approx(expected)


def test_a_price_deducts_the_take_and_is_rounded_down_to_ten() -> None:
    assert price("trifecta", (1, 2, 3), FAIR) == 9000
    assert price("win", (1,), FAIR) == 480
    assert price("quinella_place", (1, 2), FAIR) == 370


def test_a_price_is_never_below_the_stake() -> None:
    sure = {1: 0.95} | dict.fromkeys(range(2, 7), 0.01)

    assert price("win", (1,), sure) == 100


def test_every_row_of_a_settled_race_has_a_price() -> None:
    rows = [row for rows in payouts(Finish((1, 2, 3, 4, 5, 6)), FAIR).values() for row in rows]

    assert len(rows) == 10
    assert all(isinstance(row["payout"], int) and row["payout"] >= 100 for row in rows)
