"""Draws the pictures of a training and of a back-test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from services.predictor.data.events import State
from services.predictor.evaluation import charts
from services.predictor.evaluation.bootstrap import Interval
from services.predictor.evaluation.comparison import EvaluationSet, Forecast
from services.predictor.evaluation.tables import Cell
from services.predictor.policy.evaluate import EVERY_EVENT, OWN_CHOICE, ReturnRow
from services.predictor.policy.hyperparameters import EpochMetrics
from services.predictor.policy.learning_curve import RETURN
from services.predictor.training.train import TrainingResult


class BacktestFigures(NamedTuple):
    """The evaluated events, the model's forecasts of them, losses by month of the model and its references, the cost of
    leaving out each feature group or member (log-loss without it minus that of the whole), and the policies'
    returns."""

    evaluation: EvaluationSet
    forecast: Forecast
    months: Sequence[Mapping[str, Cell]]
    costs: Mapping[str, Interval]
    policy: Sequence[ReturnRow]


def training_pictures(result: TrainingResult, folder: Path) -> list[Path]:
    """Reliability in the state with the most knowledge, and learning curves of networks, trees and the agent."""
    paths = []
    if result.validation:
        state: State = "observation" if "observation" in result.validation else "card"
        validated = result.validation[state]
        paths.append(folder / "reliability.png")
        charts.draw_reliability(paths[-1], validated.probabilities.win, validated.events.occupied, validated.winner)
    return [*paths, *learning_pictures(result, folder)]


def learning_pictures(result: TrainingResult, folder: Path) -> list[Path]:
    paths = []
    kinds = (("network", "epoch", "loss of all heads"), ("trees", "tree", "log-loss"))
    for kind, step, loss in kinds:
        curves = {name: curve for name, curve in result.curves.items() if name.startswith(kind) and curve}
        if curves:
            paths.append(folder / f"learning-{kind}.png")
            charts.draw_learning_curves(paths[-1], curves, step, loss=loss)
    for curve in result.policy_curves[:1]:
        if any(RETURN in each.metrics for each in curve):
            paths.append(folder / "learning-agent.png")
            _draw_agent(paths[-1], curve)
    return paths


def backtest_pictures(figures: BacktestFigures, result: TrainingResult | None, folder: Path, model: str) -> list[Path]:
    """`result`: the training's, for its learning curves; None without a training. `model`: the model's column in the
    table by month."""
    names = ("reliability", "loss-by-month", "ablation", "policy-returns")
    reliability, by_month, ablation, returns = paths = [folder / f"{name}.png" for name in names]
    evaluation = figures.evaluation
    charts.draw_reliability(reliability, figures.forecast.win, evaluation.events.occupied, evaluation.targets.winner)
    references = [name for name in figures.months[0] if name not in {"month", "events", model}]
    charts.draw_loss_by_month(
        by_month,
        [str(row["month"]) for row in figures.months],
        [cell for row in figures.months if isinstance(cell := row[model], Interval)],
        {name: [cell for row in figures.months if isinstance(cell := row[name], float)] for name in references},
    )
    charts.draw_ablation(ablation, figures.costs, float(evaluation.losses(figures.forecast.win).mean()))
    rows = [
        row
        for row in figures.policy
        if not row.against and (row.on == EVERY_EVENT or row.bets < _bets_on_every_event(figures, row))
    ]
    labels = [row.policy if row.on == EVERY_EVENT else f"{row.policy}, {OWN_CHOICE}" for row in rows]
    charts.draw_policy_returns(
        returns,
        {label: row.returns for label, row in zip(labels, rows, strict=True)},
        {label: row.bets for label, row in zip(labels, rows, strict=True)},
    )
    return [*paths, *([] if result is None else learning_pictures(result, folder))]


def _bets_on_every_event(figures: BacktestFigures, own: ReturnRow) -> int:
    """Number of bets of the policy when it bets on every event."""
    return next(row.bets for row in figures.policy if row.policy == own.policy and row.on == EVERY_EVENT)


def _draw_agent(path: Path, curve: Sequence[EpochMetrics]) -> None:
    charts.draw_agent_curve(
        path,
        [each.epoch for each in curve],
        [each.td_loss for each in curve],
        [each.metrics.get(RETURN, float("nan")) for each in curve],
        "epoch (payouts alone first, then returns)",
    )
