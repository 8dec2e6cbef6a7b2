"""What all events together make of other tables: return rates and profiles."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from headrace.verification import expected_rows
from headrace.verification.row_digests import RowDigests
from services.loader import returns
from services.loader.as_of import KnownEvent
from shared.events import day_of


class RateTotals:
    """The sums of the return rates by source. Their number does not grow with the events."""

    def __init__(self) -> None:
        self._cells: dict[str, dict[returns.Cell, list[Any]]] = defaultdict(dict)

    def add(self, event: KnownEvent) -> None:
        fact = expected_rows.settled_of(event)
        if fact is not None:
            as_of = returns.rates_as_of(day_of(event.event_key))
            returns.add(self._cells[fact.source], returns.contributions(fact), as_of)

    def rows(self) -> dict[tuple[str, str, str, str], list[Any]]:
        """By source, scope, key and market: bets, staked, returned and the newest day."""
        return {
            (source, *cell): sums
            for source, cells in self._cells.items()
            for cell, sums in returns.expand(cells).items()
        }


class Totals:
    """What is added up while the events are read."""

    def __init__(self) -> None:
        self.rates = RateTotals()
        self.profiles: RowDigests[str] = RowDigests()
        """By entity."""

    def add(self, event: KnownEvent) -> None:
        self.rates.add(event)
        for key, values in expected_rows.profile_rows(event).items():
            self.profiles.add_expected(key[0], (*key, *values))
