"""Computes an event's contribution to the return rates: what bets on all selections cost and paid back.

For each market that paid, a settled event counts every possible selection with a stake of 100, and the amounts paid.
Refunded entries, void events and markets with a missing payout row do not count.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time
from functools import lru_cache
from itertools import combinations, permutations
from math import comb, perm
from typing import Any

from shared.events import Settled, Transaction, day_of

STAKE = 100
LINE_UP = "line-up"
"""A scope in memory: the key is `FORMAT|SLOTS`, with the separators of a selection and the slots that started."""

Cell = tuple[str, str, str]
"""scope, key, market"""

Sums = tuple[int, int, int]
"""bets, staked, returned"""


def contributions(fact: Settled | None) -> dict[Cell, Sums]:
    """What one event adds to each cell: scopes `all`, `venue` and `month`, for markets of one entry also `slot` and
    `entity`, for those of several `selection`, whose stakes are in cells of the scope LINE_UP."""
    if fact is None or fact.status != "settled":
        return {}
    starters = {outcome.slot: outcome.entity_key for outcome in fact.outcomes if not outcome.refunded}
    venue, day = fact.event_key.split(":")[2], day_of(fact.event_key)
    month = day.isoformat()[:7] if day is not None else None
    slots = " ".join(map(str, sorted(starters)))
    cells: dict[Cell, Sums] = {}
    for market, rows in _by_market(fact.transactions).items():
        if market in fact.missing_markets:
            continue
        example = rows[0].selection
        bets = selection_count(example, len(starters))
        sums = (bets, bets * STAKE, sum([row.amount for row in rows]))
        cells["all", "", market] = cells["venue", venue, market] = sums
        if month is not None:
            cells["month", month, market] = sums
        if example.isdigit():
            amounts = {int(row.selection): row.amount for row in rows}
            for slot, entity_key in starters.items():
                one = (1, STAKE, amounts.get(slot, 0))
                cells["slot", str(slot), market] = one
                if entity_key:
                    cells["entity", entity_key, market] = one
        else:
            # All selections of a line-up are staked alike, so an event has one cell for them (see `expand`).
            cells[LINE_UP, f"{_format_of(example)}|{slots}", market] = (1, STAKE, 0)
            for row in rows:
                cells["selection", row.selection, market] = (0, 0, row.amount)
    return cells


@lru_cache(maxsize=1024)
def selection_count(example: str, starters: int) -> int:
    """How many selections a market has, by the format of one: `1-2-3` is ordered, `1=2=3` is not, `1` is one entry."""
    if "-" in example:
        return perm(starters, example.count("-") + 1)
    return comb(starters, example.count("=") + 1)


@lru_cache(maxsize=1024)
def _format_of(selection: str) -> str:
    """Equal for all selections of a market: `--` for `1-2-3`."""
    return "".join(character for character in selection if character in "-=")


@lru_cache(maxsize=1024)
def _selections(example: str, slots: str) -> tuple[str, ...]:
    """All selections of a market of several entries, by the format of one. `slots`: separated by spaces."""
    if "-" in example:
        return tuple("-".join(each) for each in permutations(slots.split(), example.count("-") + 1))
    return tuple("=".join(each) for each in combinations(slots.split(), example.count("=") + 1))


def expand(cells: Mapping[Cell, Sequence[Any]]) -> dict[Cell, list[Any]]:
    """The totals of `add`, with the stakes of line-ups in the cells of their selections. An event of six entries has
    200 of these, so they are computed once for a batch, not for each event."""
    expanded: dict[Cell, list[Any]] = {cell: list(totals) for cell, totals in cells.items() if cell[0] != LINE_UP}
    for (scope, key, market), (bets, staked, _, as_of) in cells.items():
        if scope == LINE_UP:
            example, _, slots = key.partition("|")
            for selection in _selections(example, slots):
                add(expanded, {("selection", selection, market): (bets, staked, 0)}, as_of)
    return expanded


def difference(before: dict[Cell, Sums], after: dict[Cell, Sums]) -> dict[Cell, Sums]:
    """What to add to each cell to change an event's contribution from `before` to `after`."""
    if not before:
        return after
    none = (0, 0, 0)
    changes = {}
    for cell in before.keys() | after.keys():
        old, new = before.get(cell, none), after.get(cell, none)
        if old != new:
            changes[cell] = (new[0] - old[0], new[1] - old[1], new[2] - old[2])
    return changes


def add(cells: dict[Cell, list[Any]], changes: Mapping[Cell, Sums], as_of: datetime) -> None:
    """Add to the totals of each cell: bets, staked, returned, and the newest `as_of`. In place: an event has about
    forty cells."""
    for cell, (bets, staked, returned) in changes.items():
        totals = cells.get(cell)
        if totals is None:
            cells[cell] = [bets, staked, returned, as_of]
        else:
            totals[0] += bets
            totals[1] += staked
            totals[2] += returned
            totals[3] = max(totals[3], as_of)


def rates_as_of(day: date | None) -> datetime:
    """Midnight UTC of the event's day, not its schedule, which may change later."""
    return datetime.combine(day or date.min, time(), UTC)


def _by_market(transactions: Iterable[Transaction]) -> dict[str, list[Transaction]]:
    grouped: dict[str, list[Transaction]] = defaultdict(list)
    for transaction in transactions:
        grouped[transaction.market].append(transaction)
    return grouped
