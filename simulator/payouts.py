"""What a race pays: the winning selections of the seven markets and a parimutuel price for each.

A crowd knows the true probabilities but for noise; of what it stakes, the house keeps 25 percent (20 on win and
place), and the rest is shared by those who hold the winning ticket, rounded down to 10 for each 100 staked.
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
KEPT = {"win": 0.80, "place": 0.80}  # share paid out; 0.75 elsewhere
LEAST = 100


def winning(finish: Finish) -> dict[str, list[Selection]]:
    """The winning selections by market, boats 1..6, best places first."""
    orders = _orders(finish.places)
    tops = {size: _unique(order[:size] for order in orders if len(order) >= size) for size in (1, 2, 3)}
    pairs = _unique(pair for order in orders for pair in _sets(combinations(order[:3], 2)))
    found = {
        "trifecta": tops[3],
        "trio": _unique(_sets(tops[3])),
        "exacta": tops[2],
        "quinella": _unique(_sets(tops[2])),
        "quinella_place": pairs,
        "win": tops[1],
        "place": _unique((boat,) for top in tops[2] for boat in top),
    }
    return {market: found[market] if market in _open_markets(finish) else [] for market in MARKETS}


def _open_markets(finish: Finish) -> frozenset[str]:
    """Which markets stand, by valid starters, as seen in the source (its shapes are listed in its notes)."""
    if finish.void:
        return frozenset()
    if finish.valid <= 2:
        return frozenset({"exacta", "win"})
    if finish.valid == 3:
        return frozenset(MARKETS) - {"trio", "quinella_place"}
    return frozenset(MARKETS)


def _orders(places: tuple[int | None, ...]) -> list[Selection]:
    """Every order of the placed boats that the places allow: two where two boats share a place."""
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


def chance(market: str, selection: Selection, weights: Weights) -> float:
    """Plackett-Luce probability that the selection wins its market, for boats of these weights (sum 1)."""
    if market in {"trifecta", "exacta", "win"}:
        return _in_order(selection, weights)
    if market in {"trio", "quinella"}:
        return sum(_in_order(order, weights) for order in permutations(selection))
    others = [boat for boat in weights if boat not in selection]
    return sum(_in_order(order, weights) for other in others for order in permutations((*selection, other)))


def _in_order(order: Selection, weights: Weights) -> float:
    left, product = 1.0, 1.0
    for boat in order:
        product *= weights[boat] / left
        left -= weights[boat]
    return product


def price(market: str, selection: Selection, weights: Weights) -> int:
    """Yen for each 100 staked."""
    paid = KEPT.get(market, 0.75) * 100 / chance(market, selection, weights)
    return max(LEAST, int(paid / 10) * 10)


def combination(market: str, selection: Selection) -> str:
    return ("-" if market in ORDERED else "=").join(map(str, selection))


def payouts(finish: Finish, weights: Weights) -> Payouts:
    """The document's payouts; weights are the crowd's, of the boats whose stakes stand, sum 1."""
    return {
        market: [{"combination": combination(market, s), "payout": price(market, s, weights)} for s in selections]
        for market, selections in winning(finish).items()
    }
