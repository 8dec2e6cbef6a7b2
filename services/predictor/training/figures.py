"""Draws the pictures of a training and of a back-test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from services.predictor.data.events import State
from services.predictor.evaluation import charts
from services.predictor.evaluation.bootstrap import Interval
from services.predictor.evaluation.comparison import Judged, Opinion
from services.predictor.evaluation.tables import Cell
from services.predictor.policy.evaluate import EVERY_EVENT, OWN_CHOICE, Row
from services.predictor.policy.hyperparameters import Progress
from services.predictor.policy.learning_curve import RETURN
from services.predictor.training.train import Made


class BacktestShown(NamedTuple):
    """The evaluated events, the model's forecasts of them, losses by month of the model and its references, the cost of
    leaving out each feature group or member (log-loss without it minus that of the whole), and the policies'
    returns."""

    judged: Judged
    opinion: Opinion
    months: Sequence[Mapping[str, Cell]]
    costs: Mapping[str, Interval]
    policy: Sequence[Row]


def training_pictures(made: Made, folder: Path) -> list[Path]:
    """Reliability in the state with the most knowledge, and learning curves of networks, trees and the agent."""
    drawn = []
    if made.validation:
        state: State = "observation" if "observation" in made.validation else "card"
        validated = made.validation[state]
        drawn.append(folder / "reliability.png")
        charts.draw_reliability(drawn[-1], validated.told.win, validated.events.taken, validated.winner)
    return [*drawn, *learning_pictures(made, folder)]


def learning_pictures(made: Made, folder: Path) -> list[Path]:
    drawn = []
    kinds = (("network", "epoch", "loss of all heads"), ("trees", "tree", "log-loss"))
    for kind, step, loss in kinds:
        curves = {name: curve for name, curve in made.curves.items() if name.startswith(kind) and curve}
        if curves:
            drawn.append(folder / f"learning-{kind}.png")
            charts.draw_learning_curves(drawn[-1], curves, step, loss=loss)
    for curve in made.policy_curves[:1]:
        if any(RETURN in each.measured for each in curve):
            drawn.append(folder / "learning-agent.png")
            _draw_agent(drawn[-1], curve)
    return drawn


def backtest_pictures(shown: BacktestShown, made: Made | None, folder: Path, model: str) -> list[Path]:
    """`result`: the training's, for its learning curves; None without a training. `model`: the model's column in the
    table by month."""
    names = ("reliability", "loss-by-month", "ablation", "policy-returns")
    reliability, by_month, ablation, returns = drawn = [folder / f"{name}.png" for name in names]
    judged = shown.judged
    charts.draw_reliability(reliability, shown.opinion.win, judged.events.taken, judged.targets.winner)
    references = [name for name in shown.months[0] if name not in {"month", "events", model}]
    charts.draw_loss_by_month(
        by_month,
        [str(row["month"]) for row in shown.months],
        [cell for row in shown.months if isinstance(cell := row[model], Interval)],
        {name: [cell for row in shown.months if isinstance(cell := row[name], float)] for name in references},
    )
    charts.draw_ablation(ablation, shown.costs, float(judged.losses(shown.opinion.win).mean()))
    rows = [row for row in shown.policy if not row.against and (row.on == EVERY_EVENT or row.bets < _most(shown, row))]
    labels = [row.policy if row.on == EVERY_EVENT else f"{row.policy}, {OWN_CHOICE}" for row in rows]
    charts.draw_policy_returns(
        returns,
        {label: row.returned for label, row in zip(labels, rows, strict=True)},
        {label: row.bets for label, row in zip(labels, rows, strict=True)},
    )
    return [*drawn, *([] if made is None else learning_pictures(made, folder))]


def _most(shown: BacktestShown, own: Row) -> int:
    """Number of bets of the policy when it bets on every event."""
    return next(row.bets for row in shown.policy if row.policy == own.policy and row.on == EVERY_EVENT)


def _draw_agent(path: Path, curve: Sequence[Progress]) -> None:
    charts.draw_agent_curve(
        path,
        [each.epoch for each in curve],
        [each.td_loss for each in curve],
        [each.measured.get(RETURN, float("nan")) for each in curve],
        "epoch (payouts alone first, then returns)",
    )
