"""Reads the payouts of a race and finds those that the source omits.

Selections are written as in the source: boat numbers joined by `-` if their order counts, else ascending and joined by
`=`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import combinations, groupby, permutations, product
from re import compile as pattern
from typing import Any

from services.cleaner.values import unexpected

MARKETS = ("trifecta", "trio", "exacta", "quinella", "quinella_place", "win", "place")

LOWEST_AMOUNT = 100  # the stake: the rules guarantee it, and no payout of 260 days is lower
HIGHEST_AMOUNT = 1_000_000_000  # the highest of 260 days is 517,830; about two thousand times that must be an error

_SHAPES = {
    "trifecta": pattern("[1-6]-[1-6]-[1-6]"),
    "trio": pattern("[1-6]=[1-6]=[1-6]"),
    "exacta": pattern("[1-6]-[1-6]"),
    "quinella": pattern("[1-6]=[1-6]"),
    "quinella_place": pattern("[1-6]=[1-6]"),
    "win": pattern("[1-6]"),
    "place": pattern("[1-6]"),
}

Selections = dict[str, frozenset[str]]


def transactions_of(payouts: Any) -> list[dict[str, Any]]:
    """The payout rows in the source's order, numbered within their market; a repeated row counts once."""
    if not isinstance(payouts, dict) or payouts.keys() != _SHAPES.keys():
        raise unexpected("payouts", f"an object of {', '.join(MARKETS)}", payouts)
    transactions: list[dict[str, Any]] = []
    for market in MARKETS:
        rows = payouts[market]
        if rows.__class__ is not list:
            raise unexpected(f"payouts.{market}", "an array", rows)
        amounts: dict[str, int] = {}
        for row in rows:
            selection, amount = _read_row(market, row)
            if selection not in amounts:
                amounts[selection] = amount
                ordinal = len(amounts)
                transactions.append({"market": market, "selection": selection, "amount": amount, "ordinal": ordinal})
            elif amounts[selection] != amount:
                raise unexpected(f"payouts.{market} {selection}", f"one amount, {amounts[selection]}", amount)
    return transactions


def _read_row(market: str, row: Any) -> tuple[str, int]:
    if row.__class__ is not dict:
        raise unexpected(f"payouts.{market}", "objects", row)
    selection, amount = row.get("combination"), row.get("payout")
    if selection.__class__ is not str or not _is_selection(market, selection):
        raise unexpected(f"payouts.{market}", "a combination of different boats such as 1-2-3 or 1=2=3", selection)
    if amount.__class__ is not int or not LOWEST_AMOUNT <= amount <= HIGHEST_AMOUNT:
        raise unexpected(f"payouts.{market} {selection}", f"an integer {LOWEST_AMOUNT}..{HIGHEST_AMOUNT}", amount)
    return selection, amount


@lru_cache(maxsize=1024)  # there are 120 + 20 + 30 + 15 + 15 + 6 + 6 valid selections
def _is_selection(market: str, selection: str) -> bool:
    if not _SHAPES[market].fullmatch(selection):
        return False
    boats = selection.replace("=", "-").split("-")
    return len(set(boats)) == len(boats) and ("=" not in selection or boats == sorted(boats))


def missing_markets(
    places: Sequence[int | None], starters: int, transactions: Iterable[Mapping[str, Any]]
) -> tuple[str, ...]:
    """The markets with missing payout rows: winning selections for which the source has no row.

    A market is listed once for each missing row: "place" twice means that both of its rows are missing. The likely
    cause is a special payout: no winning ticket was sold, and the source drops rows without an amount in yen.

    `places` are those of slots 1 to 6; `starters` is the number of boats whose stakes are not refunded.
    Raises InvalidEvent if a row pays a selection that did not win.
    """
    winning = winning_selections(tuple(places))
    paid: dict[str, set[str]] = {market: set() for market in MARKETS}
    for row in transactions:
        market, selection = row["market"], row["selection"]
        if selection not in winning[market]:
            raise unexpected(
                f"payouts.{market}", f"a winner, {' or '.join(sorted(winning[market])) or 'none'}", selection
            )
        paid[market].add(selection)
    return tuple(market for market in offered_markets(starters) for _ in winning[market] - paid[market])


def offered_markets(starters: int) -> tuple[str, ...]:
    """The markets for this number of starters. A market in which every selection would win is cancelled."""
    if starters >= 4:
        return MARKETS
    if starters == 3:
        return ("trifecta", "exacta", "quinella", "win", "place")
    return ("exacta", "win") if starters == 2 else ()


@lru_cache(maxsize=4096)  # 720 complete orders, and the observed ones with fewer boats or dead heats
def winning_selections(places: tuple[int | None, ...]) -> Selections:
    """The winning selections of each market, by the places of slots 1 to 6. After a dead heat there are several."""
    winners: dict[str, set[str]] = {market: set() for market in MARKETS}
    for order in _orders(places):
        first_two, first_three = order[:2], order[:3]
        winners["win"].add(order[0])
        winners["place"].update(first_two)
        if len(first_two) == 2:
            winners["exacta"].add("-".join(first_two))
            winners["quinella"].add("=".join(sorted(first_two)))
            winners["quinella_place"].update("=".join(pair) for pair in combinations(sorted(first_three), 2))
        if len(first_three) == 3:
            winners["trifecta"].add("-".join(first_three))
            winners["trio"].add("=".join(sorted(first_three)))
    return {market: frozenset(selections) for market, selections in winners.items()}


def _orders(places: tuple[int | None, ...]) -> Iterator[list[str]]:
    """The finishing orders as boat numbers: one, or after a dead heat one for each way to break the tie."""
    placed = sorted((place, str(slot)) for slot, place in enumerate(places, start=1) if place is not None)
    ties = [[slot for _, slot in tied] for _, tied in groupby(placed, key=lambda pair: pair[0])]
    for broken in product(*(permutations(tie) for tie in ties)):
        order = [slot for tie in broken for slot in tie]
        if order:
            yield order
