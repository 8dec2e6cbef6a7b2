"""Computes payouts: the winning selections of the seven markets, and a parimutuel price for each.

The public stakes by noisy estimates of the true probabilities. The operator keeps 25 percent of the stakes (20 percent
on win and place). The winning tickets share the rest, rounded down to a multiple of 10 per 100 staked.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations, permutations

from simulator.accidents import Finish

Weights = dict[int, float]
Selection = tuple[int, ...]
Payouts = dict[str, list[dict[str, object]]]

MARKETS = ("trifecta", "trio", "exacta", "quinella", "quinella_place", "win", "place")
ORDERED = frozenset({"trifecta", "exacta", "win", "place"})
PAID_SHARES = {"win": 0.80, "place": 0.80}  # share paid out; 0.75 elsewhere
MIN_PAYOUT = 100


def winning_selections(finish: Finish) -> dict[str, list[Selection]]:
    """The winning selections by market, boats 1..6, best places first."""
    orders = _orders(finish.places)
    tops = {size: _unique(order[:size] for order in orders if len(order) >= size) for size in (1, 2, 3)}
    pairs = _unique(pair for order in orders for pair in _sets(combinations(order[:3], 2)))
    selections = {
        "trifecta": tops[3],
        "trio": _unique(_sets(tops[3])),
        "exacta": tops[2],
        "quinella": _unique(_sets(tops[2])),
        "quinella_place": pairs,
        "win": tops[1],
        "place": _unique((boat,) for top in tops[2] for boat in top),
    }
    return {market: selections[market] if market in _open_markets(finish) else [] for market in MARKETS}


def _open_markets(finish: Finish) -> frozenset[str]:
    """The markets that pay, by the number of valid starters, as in the real source."""
    if finish.void:
        return frozenset()
    if finish.valid_count <= 2:
        return frozenset({"exacta", "win"})
    if finish.valid_count == 3:
        return frozenset(MARKETS) - {"trio", "quinella_place"}
    return frozenset(MARKETS)


def _orders(places: tuple[int | None, ...]) -> list[Selection]:
    """All orders of the placed boats that the places allow; a dead heat gives several."""
    groups: dict[int, list[int]] = {}
    for boat, place in enumerate(places, start=1):
        if place is not None and place <= 6:
            groups.setdefault(place, []).append(boat)
    orders: list[Selection] = [()]
    for place in sorted(groups):
        orders = [order + tail for order in orders for tail in permutations(groups[place])]
    return orders


def _sets(selections: Iterable[Selection]) -> list[Selection]:
    return [tuple(sorted(selection)) for selection in selections]


def _unique(selections: Iterable[Selection]) -> list[Selection]:
    return list(dict.fromkeys(selections))


def win_probability_of(market: str, selection: Selection, weights: Weights) -> float:
    """The Plackett-Luce probability that the selection wins its market; the weights of the boats sum to 1."""
    if market in {"trifecta", "exacta", "win"}:
        return _order_probability(selection, weights)
    if market in {"trio", "quinella"}:
        return sum(_order_probability(order, weights) for order in permutations(selection))
    others = [boat for boat in weights if boat not in selection]
    return sum(_order_probability(order, weights) for other in others for order in permutations((*selection, other)))


def _order_probability(order: Selection, weights: Weights) -> float:
    left, product = 1.0, 1.0
    for boat in order:
        product *= weights[boat] / left
        left -= weights[boat]
    return product


def price(market: str, selection: Selection, weights: Weights) -> int:
    """The payout in yen per 100 staked."""
    exact_price = PAID_SHARES.get(market, 0.75) * 100 / win_probability_of(market, selection, weights)
    return max(MIN_PAYOUT, int(exact_price / 10) * 10)


def combination(market: str, selection: Selection) -> str:
    return ("-" if market in ORDERED else "=").join(map(str, selection))


def payouts(finish: Finish, weights: Weights) -> Payouts:
    """The payouts of a document. `weights` are the public's estimates for boats without refund, and sum to 1."""
    return {
        market: [{"combination": combination(market, s), "payout": price(market, s, weights)} for s in selections]
        for market, selections in winning_selections(finish).items()
    }
