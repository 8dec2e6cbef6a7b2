"""The daily summary's content, computed from rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from math import log

from services.notifier.findings import Digest, Payout


@dataclass(frozen=True)
class DayRows:
    """What the database shows of a source's day.

    `log_losses` (nats) is of each event's last prediction of the winner; `winners` is the slot that won each of them;
    `wins` counts, per slot, the wins in all earlier events of the source; `slots` is how many slots an event has.
    """

    statuses: Mapping[str, int]
    payouts: Sequence[tuple[str, Payout]] = ()
    log_losses: Mapping[str, float] = field(default_factory=dict)
    winners: Mapping[str, int] = field(default_factory=dict)
    wins: Mapping[int, int] = field(default_factory=dict)
    slots: int = 0


def digest_of(source: str, day: date, rows: DayRows, best: int) -> Digest:
    """`best` is how many of the highest payouts to keep; among equal ones the first by name."""
    ranked = sorted(rows.payouts, key=lambda item: (-item[1].amount, item[0]))
    scored = sorted(rows.log_losses.keys() & rows.winners.keys())
    base_rates = shares(rows.wins, rows.slots)
    return Digest(
        source,
        day,
        dict(rows.statuses),
        tuple(ranked[:best]),
        len(scored),
        _mean([rows.log_losses[key] for key in scored]),
        _mean([-log(base_rates[rows.winners[key]]) for key in scored]),
        sum(rows.wins.values()),
    )


def shares(wins: Mapping[int, int], slots: int) -> dict[int, float]:
    """Each slot's share of all wins, one win added to each, so that no history gives equal shares and no share is 0."""
    total = sum(wins.values()) + slots
    return {slot: (wins.get(slot, 0) + 1) / total for slot in range(1, slots + 1)}


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
