"""Computes the daily summary from rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from math import log

from services.notifier.findings.finding import Digest, Payout


@dataclass(frozen=True)
class DayRows:
    """The rows of a source's day.

    `payouts` are (event name, payout). By event key, `log_losses` is the log loss of the last prediction in nats, and
    `winners` the slot that won. `wins` counts the wins of each slot in all earlier events of the source. `slots` is the
    number of slots of an event.
    """

    statuses: Mapping[str, int]
    payouts: Sequence[tuple[str, Payout]] = ()
    log_losses: Mapping[str, float] = field(default_factory=dict)
    winners: Mapping[str, int] = field(default_factory=dict)
    wins: Mapping[int, int] = field(default_factory=dict)
    slots: int = 0


def digest_of(source: str, day: date, rows: DayRows, best_count: int) -> Digest:
    """Compute the digest. `best_count` is how many of the highest payouts to list; ties are sorted by event."""
    ranked = sorted(rows.payouts, key=lambda item: (-item[1].amount, item[0]))
    scored_keys = sorted(rows.log_losses.keys() & rows.winners.keys())
    base_rates = win_shares(rows.wins, rows.slots)
    return Digest(
        source,
        day,
        dict(rows.statuses),
        tuple(ranked[:best_count]),
        len(scored_keys),
        _mean([rows.log_losses[key] for key in scored_keys]),
        _mean([-log(base_rates[rows.winners[key]]) for key in scored_keys]),
        sum(rows.wins.values()),
    )


def win_shares(wins: Mapping[int, int], slots: int) -> dict[int, float]:
    """Each slot's share of all wins. One win is added to each, so that no share is 0, even without history."""
    total = sum(wins.values()) + slots
    return {slot: (wins.get(slot, 0) + 1) / total for slot in range(1, slots + 1)}


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
