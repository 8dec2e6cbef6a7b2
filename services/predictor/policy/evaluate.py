"""Measures what policies would have returned: unshaped returns at equal numbers of bets, with confidence intervals.

A return is the payout per unit staked: 1 breaks even. Refunds and void events count neither as stake nor as return.
Intervals come from a bootstrap over clusters of date x venue; differences are paired. No figure promises a profit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from services.predictor.data.events import Bools, Floats, Ints
from services.predictor.evaluation.bootstrap import Interval, ratio, ratio_difference
from services.predictor.policy.environment import ABSTAIN, Episodes

SHARES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
EQUAL_SHARES = (0.1, 0.25, 0.5)
NO_BETS = "degenerate: abstains on everything"
EVERY_EVENT, OWN_CHOICE = "every event", "own choice"


@dataclass(frozen=True)
class BettingChoice:
    """What a policy does with n events: the slot it backs if it bets (`action`, counted from 1), the worth by which it
    ranks events (`worth`), and whether it bets of its own choice (`wants_bet`); each (n,)."""

    action: Ints
    worth: Floats
    wants_bet: Bools


def choice_of(worth: Floats, threshold: float | None = None) -> BettingChoice:
    """Backs the slot of the highest `worth` (n, S), where that exceeds `threshold`; everywhere if `threshold` is
    None."""
    best = worth.max(axis=1)
    wants_bet = np.isfinite(best) if threshold is None else best > threshold
    return BettingChoice(worth.argmax(axis=1) + 1, best, wants_bet)


class ReturnRow(NamedTuple):
    """One row of the table. `difference`: this policy's return minus that of `against`, at the same number of bets.

    `note` explains a row without bets.
    """

    policy: str
    on: str
    bets: int
    hits: float
    returns: Interval
    against: str = ""
    difference: Interval | None = None
    note: str = ""


class ReturnCurve(NamedTuple):
    """For a chart: the return and its interval when betting on each of `shares` of all events, highest worth first."""

    policy: str
    shares: tuple[float, ...]
    bets: tuple[int, ...]
    returns: tuple[Interval, ...]


def returns_table(
    agent: str,
    choices: Mapping[str, BettingChoice],
    episodes: Episodes,
    clusters: Ints,
    shares: Sequence[float] = EQUAL_SHARES,
) -> list[ReturnRow]:
    """Rows of every policy betting on every event and on its own choice; then rows of `agent` against each other
    policy: on every event, at the agent's own number of bets, and at `shares` of all events. `clusters` (n,): number of
    the date x venue."""
    rows = []
    for name, choice in choices.items():
        rows.append(_row(name, EVERY_EVENT, choice, _valid_bets(choice, episodes), episodes, clusters))
        rows.append(
            _row(name, OWN_CHOICE, choice, _valid_bets(choice, episodes) & choice.wants_bet, episodes, clusters)
        )
    own_bets = int((_valid_bets(choices[agent], episodes) & choices[agent].wants_bet).sum())
    sizes = {EVERY_EVENT: len(episodes), f"as many as {agent} chose": own_bets}
    sizes |= {f"most worthy {share:.0%}": round(share * len(episodes)) for share in shares}
    for other in (name for name in choices if name != agent):
        rows += [_compare(agent, other, choices, on, size, episodes, clusters) for on, size in sizes.items()]
    return rows


def return_curve(
    name: str, choice: BettingChoice, episodes: Episodes, clusters: Ints, shares: tuple[float, ...] = SHARES
) -> ReturnCurve:
    chosen = [most_worthy(choice, episodes, round(share * len(episodes))) for share in shares]
    return ReturnCurve(
        name,
        shares,
        tuple(int(each.sum()) for each in chosen),
        tuple(ratio(*_sums(choice, each, episodes), clusters) for each in chosen),
    )


def most_worthy(choice: BettingChoice, episodes: Episodes, count: int) -> Bools:
    """(n,): the `count` events of highest worth among those where the stake counts; ties go to the earlier row."""
    valid = _valid_bets(choice, episodes)
    order = np.argsort(-np.where(valid, choice.worth, -np.inf), kind="stable")
    chosen = np.zeros(len(episodes), dtype=np.bool_)
    chosen[order[: min(count, int(valid.sum()))]] = True
    return chosen


def _compare(
    agent: str, other: str, choices: Mapping[str, BettingChoice], on: str, size: int, episodes: Episodes, clusters: Ints
) -> ReturnRow:
    both = [choices[agent], choices[other]]
    # Refunds may differ between the two: both then bet as often as the one with fewer stakes that count.
    size = min(size, *(int(_valid_bets(each, episodes).sum()) for each in both))
    chosen = [most_worthy(each, episodes, size) for each in both]
    row = _row(agent, on, both[0], chosen[0], episodes, clusters)
    sums = [_sums(each, mask, episodes) for each, mask in zip(both, chosen, strict=True)]
    return row._replace(against=other, difference=ratio_difference(sums[0], sums[1], clusters) if size else None)


def _row(name: str, on: str, choice: BettingChoice, chosen: Bools, episodes: Episodes, clusters: Ints) -> ReturnRow:
    back, stake = _sums(choice, chosen, episodes)
    bets = int(stake.sum())
    hits = float((back > 0).sum() / bets) if bets else float("nan")
    return ReturnRow(name, on, bets, hits, ratio(back, stake, clusters), note="" if bets else NO_BETS)


def _sums(choice: BettingChoice, chosen: Bools, episodes: Episodes) -> tuple[Floats, Floats]:
    """(n,) payouts and (n,) stakes."""
    stake = chosen.astype(np.float64)
    return (episodes.gain(choice.action) + 1.0) * stake, stake


def _valid_bets(choice: BettingChoice, episodes: Episodes) -> Bools:
    return np.asarray(episodes.bets(choice.action) & (choice.action != ABSTAIN), dtype=np.bool_)
