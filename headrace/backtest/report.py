"""Formats the results of a back-test, as plain-text tables or as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from services.predictor.backtest.walk_forward import Spans, Walked
from services.predictor.data.events import Ints, State
from services.predictor.evaluation.bootstrap import Interval
from services.predictor.evaluation.comparison import Judged
from services.predictor.evaluation.tables import Cell, table
from services.predictor.model.ensemble import NETWORK, TREES, Trained
from services.predictor.policy.comparison import AGENT
from services.predictor.policy.evaluate import EVERY_EVENT, OWN_CHOICE, Row

INTERVALS = "Intervals: 95 %, 2,000 bootstraps clustered by day and venue; differences are paired."
AID = (
    "The policy is a decision aid: these are its measured returns per unit staked (1 returns the stake),"
    " and no claim of profit."
)
Rows = Sequence[Mapping[str, Cell]]


@dataclass(frozen=True)
class Report:
    """`facts` and `coverage` by name, tables as rows, `seconds` by stage."""

    facts: dict[str, str | int]
    coverage: dict[str, int]
    quality: Rows
    differences: Rows
    months: Rows
    shares: Rows
    policy: Sequence[Row]
    notes: Sequence[str]
    pictures: Sequence[str]
    seconds: dict[str, float]

    def text(self) -> str:
        parts = [
            _pairs(self.facts),
            _pairs(self.coverage),
            f"Losses are in nats. {INTERVALS}",
            table(self.quality),
            table(self.differences),
            table(self.months, levels=("model",)),
            "Members of the model alone, and the gain from pooling:",
            table(self.shares),
            AID,
            table(returned_rows(self.policy), digits=3, levels=(EVERY_EVENT, OWN_CHOICE)),
            "The agent's return minus each policy's, with equally many bets, each on the events it rates highest:",
            table(compared_rows(self.policy), digits=3, levels=("return",)),
            *abstention(self.policy),
            *self.notes,
        ]
        return "\n\n".join(part for part in parts if part)

    def json(self) -> dict[str, Any]:
        found = asdict(self) | {"policy": policy_rows(self.policy), "about_the_policy": [AID, *abstention(self.policy)]}
        tables = ("quality", "differences", "months", "shares", "policy")
        return found | {name: [_plain(row) for row in found[name]] for name in tables}


def facts_of(spans: Spans, model: Trained, judged: Judged) -> dict[str, str | int]:
    description = model.description
    kinds = Counter(member.kind for member in description.members)
    return {
        "trained on": f"{description.first_day} to {description.last_day}, {description.events:,} events",
        "validated on": f"{description.validation_first} to {description.validation_last}",
        "tested on": f"{spans.test_from} to {spans.test_to}, {len(judged.events):,} events",
        "seed": description.seed,
        "members": f"{kinds[NETWORK]} networks, {kinds[TREES]} of trees",
    }


def coverage_of(walked: Walked, states: Mapping[State, Ints]) -> dict[str, int]:
    """Counts of events: those that can be evaluated, and those predicted, by state of knowledge."""
    told = walked.told.win[walked.rows]
    return {
        "events in the span": len(walked.events),
        "of them with six entries and one winner": len(walked.rows),
        "told": int((np.abs(told.sum(axis=1) - 1) < 1e-9).sum()),
        "told as observed": len(states.get("observation", ())),
        "told from the card": len(states.get("card", ())),
    }


def worth_notes(differences: Rows, bare: str) -> list[str]:
    """The value of history features: the increase in log-loss without them, in nats."""
    for row in differences:
        cell = row["difference"]
        if row["less that of"] == bare and isinstance(cell, Interval):
            worth = Interval(-cell.mean, -cell.high, -cell.low)
            return [f"History features are worth {worth} nats: without them, the log-loss is higher by this much."]
    return []


def returned_rows(found: Sequence[Row]) -> list[dict[str, Cell]]:
    """One row per policy: bets, hits and return."""
    rows: dict[str, dict[str, Cell]] = {}
    for row in found:
        if not row.against:
            line = rows.setdefault(row.policy, {"policy": row.policy})
            line |= {f"bets, {row.on}": row.bets, f"hits, {row.on}": row.hits, row.on: row.returned}
    return list(rows.values())


def compared_rows(found: Sequence[Row]) -> list[dict[str, Cell]]:
    return [
        {"against": row.against, "on": row.on, "bets": row.bets, "return": row.returned, "difference": row.difference}
        for row in found
        if row.against
    ]


def policy_rows(found: Sequence[Row]) -> list[dict[str, Cell]]:
    return [
        {"policy": row.policy, "on": row.on, "bets": row.bets, "hits": row.hits, "return": row.returned,
         "against": row.against, "difference": row.difference, "note": row.note}
        for row in found
    ]  # fmt: skip


def abstention(found: Sequence[Row]) -> list[str]:
    """How often the agent did not bet. A policy that never bets is reported as degenerate."""
    bets = {row.on: row.bets for row in found if row.policy == AGENT and not row.against}
    if not bets:
        return ["The model has no policy: it makes no bets."]
    backed, possible = bets[OWN_CHOICE], bets[EVERY_EVENT]
    share = 1 - backed / possible if possible else 1.0
    said = f"By its own choice the agent bet on {backed:,} of {possible:,} events and abstained on {share:.1%}."
    return [said + (" A policy that never bets is degenerate, not successful." if not backed else "")]


def _pairs(found: Mapping[str, Any]) -> str:
    width = max((len(name) for name in found), default=0)
    return "\n".join(
        f"{name.ljust(width)}  {value:,}" if isinstance(value, int) else f"{name.ljust(width)}  {value}"
        for name, value in found.items()
    )


def _plain(row: Mapping[str, Cell]) -> dict[str, Any]:
    """A row for JSON, with NaN as null."""
    return {name: _number_or_none(cell) for name, cell in row.items()}


def _number_or_none(cell: Cell) -> Any:
    if isinstance(cell, Interval):
        return {name: _number_or_none(value) for name, value in cell._asdict().items()}
    return None if cell != cell else cell  # noqa: PLR0124 NaN
