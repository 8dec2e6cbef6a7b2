"""The contribution of one settled event to the return rates."""

from __future__ import annotations

from itertools import combinations, permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.loader.returns import Cell, add, contributions, difference, expand, selection_count
from shared.events import Settled
from tests.services.loader.facts import PAID, START, outcomes, paid, settled


def test_every_selection_of_a_market_is_staked_once() -> None:
    cells = contributions(settled())
    assert cells["all", "", "win"] == cells["venue", "07", "win"] == (4, 400, 160)
    assert cells["all", "", "place"] == (4, 400, 300)
    assert cells["all", "", "exacta"] == (12, 1200, 520)
    assert cells["all", "", "quinella"] == (6, 600, 330)
    assert cells["slot", "2", "place"] == cells["entity", "river:102", "place"] == (1, 100, 190)
    assert cells["slot", "3", "win"] == (1, 100, 0)
    assert ("slot", "1", "exacta") not in cells
    assert cells["month", "2031-05", "exacta"] == cells["all", "", "exacta"]


def totals_of(*facts: Settled) -> dict[Cell, list[Any]]:
    cells: dict[Cell, list[Any]] = {}
    for fact in facts:
        add(cells, contributions(fact), START)
    return expand(cells)


def test_every_selection_of_several_entries_has_a_cell() -> None:
    cells = totals_of(settled(1), settled(2))
    assert cells["selection", "1-2", "exacta"] == [2, 200, 1040, START]
    assert cells["selection", "2-1", "exacta"] == [2, 200, 0, START]
    assert ("selection", "2=1", "quinella") not in cells
    assert ("selection", "1", "win") not in cells
    assert {scope for scope, _, _ in cells} == {"all", "venue", "month", "slot", "entity", "selection"}


def test_the_selections_of_a_market_add_up_to_the_market() -> None:
    cells = totals_of(settled(1), settled(2, outcomes=outcomes(1, 2, 3, None, codes={4: 14})))
    for market in ("exacta", "quinella"):
        each = [sums[:3] for (scope, _, name), sums in cells.items() if scope == "selection" and name == market]
        assert list(map(sum, zip(*each, strict=True))) == cells["all", "", market][:3]


def test_a_dead_heat_returns_to_both_winners() -> None:
    cells = contributions(settled(outcomes=outcomes(1, 1, 3, 4), transactions=paid(win={"1": 90, "2": 210})))
    assert cells["all", "", "win"] == (4, 400, 300)
    assert (cells["slot", "1", "win"], cells["slot", "2", "win"]) == ((1, 100, 90), (1, 100, 210))


def test_refunded_entries_shrink_the_number_of_selections() -> None:
    cells = contributions(settled(outcomes=outcomes(1, 2, 3, None, codes={4: 14})))
    assert cells["all", "", "win"][0] == 3
    assert cells["all", "", "exacta"][0] == 6
    assert cells["all", "", "quinella"][0] == 3
    assert ("slot", "4", "win") not in cells


def test_stakes_on_a_capsized_entry_count() -> None:
    cells = contributions(settled(outcomes=outcomes(1, 2, 3, None, codes={4: 9})))
    assert cells["slot", "4", "win"] == (1, 100, 0)
    assert cells["all", "", "win"][0] == 4


def test_a_market_with_a_missing_row_is_not_counted() -> None:
    cells = contributions(settled(missing_markets=("place",)))
    assert {market for _, _, market in cells} == {"win", "exacta", "quinella"}


@pytest.mark.parametrize("status", ["void", "cancelled", "provisional"])
def test_only_settled_events_count(status: str) -> None:
    assert contributions(settled(status=status)) == {}
    assert contributions(None) == {}


def test_a_correction_changes_only_the_difference() -> None:
    before, after = contributions(settled()), contributions(settled(transactions=(*PAID[1:], *paid(win={"2": 500}))))
    assert difference(before, after) == {
        ("all", "", "win"): (0, 0, 340),
        ("venue", "07", "win"): (0, 0, 340),
        ("month", "2031-05", "win"): (0, 0, 340),
        ("slot", "1", "win"): (0, 0, -160),
        ("entity", "river:101", "win"): (0, 0, -160),
        ("slot", "2", "win"): (0, 0, 500),
        ("entity", "river:102", "win"): (0, 0, 500),
    }


sums = st.tuples(*[st.integers(-(10**6), 10**6)] * 3)
cells = st.dictionaries(st.tuples(st.sampled_from("ab"), st.sampled_from("xy"), st.sampled_from("12")), sums)


@given(cells, cells)
def test_before_plus_the_difference_is_after(
    before: dict[tuple[str, str, str], tuple[int, int, int]], after: dict[tuple[str, str, str], tuple[int, int, int]]
) -> None:
    change, zero = difference(before, after), (0, 0, 0)
    for cell in before.keys() | after.keys():
        added = (a + b for a, b in zip(before.get(cell, zero), change.get(cell, zero), strict=True))
        assert tuple(added) == after.get(cell, zero)


@given(st.integers(2, 8))
def test_the_number_of_selections_is_the_number_of_their_enumeration(starters: int) -> None:
    entries = range(starters)
    assert selection_count("1", starters) == starters
    assert selection_count("1-2", starters) == len(list(permutations(entries, 2)))
    assert selection_count("1-2-3", starters) == len(list(permutations(entries, 3)))
    assert selection_count("1=2", starters) == len(list(combinations(entries, 2)))
    assert selection_count("1=2=3", starters) == len(list(combinations(entries, 3)))
