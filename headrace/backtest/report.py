"""Formats the results of a back-test, as plain-text tables or as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from services.predictor.backtest.walk_forward import Spans, WalkForward
from services.predictor.data.events import Ints, State
from services.predictor.evaluation.bootstrap import Interval
from services.predictor.evaluation.comparison import EvaluationSet
from services.predictor.evaluation.tables import Cell, format_table
from services.predictor.model.ensemble import NETWORK, TREES, Ensemble
from services.predictor.policy.comparison import AGENT
from services.predictor.policy.evaluate import EVERY_EVENT, OWN_CHOICE, ReturnRow

INTERVALS = "Intervals: 95 %, 2,000 bootstraps clustered by day and venue; differences are paired."
POLICY_DISCLAIMER = (
    "The policy is a decision aid: these are its measured returns per unit staked (1 returns the stake),"
    " and no claim of profit."
)
Rows = Sequence[Mapping[str, Cell]]


@dataclass(frozen=True)
class BacktestReport:
    """`facts` and `coverage` by name, tables as rows, `seconds` by stage."""

    facts: dict[str, str | int]
    coverage: dict[str, int]
    quality: Rows
    differences: Rows
    months: Rows
    shares: Rows
    policy: Sequence[ReturnRow]
    notes: Sequence[str]
    pictures: Sequence[str]
    seconds: dict[str, float]

    def text(self) -> str:
        parts = [
            _pair_lines(self.facts),
            _pair_lines(self.coverage),
            f"Losses are in nats. {INTERVALS}",
            format_table(self.quality),
            format_table(self.differences),
            format_table(self.months, unsigned_columns=("model",)),
            "Members of the model alone, and the gain from pooling:",
            format_table(self.shares),
            POLICY_DISCLAIMER,
            format_table(return_rows(self.policy), digits=3, unsigned_columns=(EVERY_EVENT, OWN_CHOICE)),
            "The agent's return minus each policy's, with equally many bets, each on the events it rates highest:",
            format_table(comparison_rows(self.policy), digits=3, unsigned_columns=("return",)),
            *abstention_lines(self.policy),
            *self.notes,
        ]
        return "\n\n".join(part for part in parts if part)

    def json(self) -> dict[str, Any]:
        body = asdict(self) | {
            "policy": policy_rows(self.policy),
            "about_the_policy": [POLICY_DISCLAIMER, *abstention_lines(self.policy)],
        }
        tables = ("quality", "differences", "months", "shares", "policy")
        return body | {name: [_json_row(row) for row in body[name]] for name in tables}


def report_facts(spans: Spans, model: Ensemble, evaluation: EvaluationSet) -> dict[str, str | int]:
    description = model.description
    kinds = Counter(member.kind for member in description.members)
    return {
        "trained on": f"{description.first_day} to {description.last_day}, {description.events:,} events",
        "validated on": f"{description.validation_first} to {description.validation_last}",
        "tested on": f"{spans.test_from} to {spans.test_to}, {len(evaluation.events):,} events",
        "seed": description.seed,
        "members": f"{kinds[NETWORK]} networks, {kinds[TREES]} of trees",
    }


def event_coverage(predictions: WalkForward, states: Mapping[State, Ints]) -> dict[str, int]:
    """Counts of events: those that can be evaluated, and those predicted, by state of knowledge."""
    probabilities = predictions.probabilities.win[predictions.rows]
    return {
        "events in the span": len(predictions.events),
        "of them with six entries and one winner": len(predictions.rows),
        "told": int((np.abs(probabilities.sum(axis=1) - 1) < 1e-9).sum()),
        "told as observed": len(states.get("observation", ())),
        "told from the card": len(states.get("card", ())),
    }


def history_value_notes(differences: Rows, model_without_history: str) -> list[str]:
    """The value of history features: the increase in log-loss without them, in nats."""
    for row in differences:
        cell = row["difference"]
        if row["less that of"] == model_without_history and isinstance(cell, Interval):
            value = Interval(-cell.mean, -cell.high, -cell.low)
            return [f"History features are worth {value} nats: without them, the log-loss is higher by this much."]
    return []


def return_rows(returns: Sequence[ReturnRow]) -> list[dict[str, Cell]]:
    """One row per policy: bets, hits and return."""
    rows: dict[str, dict[str, Cell]] = {}
    for row in returns:
        if not row.against:
            line = rows.setdefault(row.policy, {"policy": row.policy})
            line |= {f"bets, {row.on}": row.bets, f"hits, {row.on}": row.hits, row.on: row.returns}
    return list(rows.values())


def comparison_rows(returns: Sequence[ReturnRow]) -> list[dict[str, Cell]]:
    return [
        {"against": row.against, "on": row.on, "bets": row.bets, "return": row.returns, "difference": row.difference}
        for row in returns
        if row.against
    ]


def policy_rows(returns: Sequence[ReturnRow]) -> list[dict[str, Cell]]:
    return [
        {"policy": row.policy, "on": row.on, "bets": row.bets, "hits": row.hits, "return": row.returns,
         "against": row.against, "difference": row.difference, "note": row.note}
        for row in returns
    ]  # fmt: skip


def abstention_lines(returns: Sequence[ReturnRow]) -> list[str]:
    """How often the agent did not bet. A policy that never bets is reported as degenerate."""
    bets = {row.on: row.bets for row in returns if row.policy == AGENT and not row.against}
    if not bets:
        return ["The model has no policy: it makes no bets."]
    bet_events, possible = bets[OWN_CHOICE], bets[EVERY_EVENT]
    share = 1 - bet_events / possible if possible else 1.0
    line = f"By its own choice the agent bet on {bet_events:,} of {possible:,} events and abstained on {share:.1%}."
    return [line + (" A policy that never bets is degenerate, not successful." if not bet_events else "")]


def _pair_lines(values: Mapping[str, Any]) -> str:
    width = max((len(name) for name in values), default=0)
    return "\n".join(
        f"{name.ljust(width)}  {value:,}" if isinstance(value, int) else f"{name.ljust(width)}  {value}"
        for name, value in values.items()
    )


def _json_row(row: Mapping[str, Cell]) -> dict[str, Any]:
    """A row for JSON, with NaN as null."""
    return {name: _number_or_none(cell) for name, cell in row.items()}


def _number_or_none(cell: Cell) -> Any:
    if isinstance(cell, Interval):
        return {name: _number_or_none(value) for name, value in cell._asdict().items()}
    return None if cell != cell else cell  # noqa: PLR0124 NaN
