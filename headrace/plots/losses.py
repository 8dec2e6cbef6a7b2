"""Log-loss of predictions by month, against the base rate."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from headrace.frames.accessor import scoring
from headrace.plots.calibration import NOTHING_SCORED, subject
from headrace.plots.errors import NothingToPlot
from headrace.plots.text_chart import WIDTH, Scale, axis_line, interval_line
from services.predictor.evaluation.bootstrap import Interval, mean_difference
from services.predictor.evaluation.chart_parts import loss_by_month_figure

UNKNOWN = Interval(float("nan"), float("nan"), float("nan"))


def losses_by_month(predictions: pd.DataFrame, results: pd.DataFrame) -> pd.DataFrame:
    """Of frames of `hr.predictions(...)` and `hr.results(...)`; results of earlier days make the base rate.

    One row per month and state: month (text), state, events, log_loss (nats) with low and high (95 %), base (log-loss
    of the base rate: each slot's share of wins before the month's first prediction). Raises NothingToPlot.
    """
    scored = scoring.scored_slots(predictions, results)
    if scored.empty:
        raise NothingToPlot(NOTHING_SCORED)
    rows = []
    for month, slots in scored.groupby(scored["date"].dt.strftime("%Y-%m")):
        losses = scoring.event_losses(slots).assign(base=scoring.base_losses(slots, results))
        for state, part in losses.groupby("state"):
            loss = mean_difference(part["loss"].to_numpy(np.float64), scoring.clusters(part))
            rows.append((month, state, len(part), *loss, part["base"].mean()))
    table = pd.DataFrame(rows, columns=["month", "state", "events", "log_loss", "low", "high", "base"])
    table.attrs["subject"] = subject(scored)
    return table


def losses_figure(table: pd.DataFrame) -> Figure:
    """A month's base rate is that of its state with the most events."""
    months = table["month"].unique().tolist()
    states = table["state"].unique().tolist()
    by_key = {
        (month, state): Interval(loss, low, high)
        for month, state, _, loss, low, high, _ in table.itertuples(index=False)
    }
    losses = {state: [by_key.get((month, state), UNKNOWN) for month in months] for state in states}
    widest = table.sort_values("events", kind="stable").drop_duplicates("month", keep="last").set_index("month")
    gap = "\n" if len(months) <= 6 else "  "
    labels = [f"{month}{gap}{widest.loc[month, 'events']:,}" for month in months]
    figure = loss_by_month_figure(labels, losses, {"base rate": widest.loc[months, "base"].tolist()})
    (axes,) = figure.axes
    axes.set(xlabel="month, number of events", title=f"Log-loss by month (lower is better)\n{table.attrs['subject']}")
    return figure


def losses_text(table: pd.DataFrame) -> list[str]:
    """A row per month and state: the log-loss with its interval, and the base rate."""
    ends = table[["low", "high", "base", "log_loss"]].to_numpy(np.float64)
    room = 0.05 * (np.nanmax(ends) - np.nanmin(ends)) or 0.01
    scale = Scale(float(np.nanmin(ends) - room), float(np.nanmax(ends) + room), WIDTH - 47)
    axis = axis_line(scale, {scale.low: f"{scale.low:.3f}", scale.high: f"{scale.high:.3f}"})
    lines = [
        "Log-loss of the winner by month, nats (lower is better)",
        *table.attrs["subject"].splitlines(),
        "",
        "├─●─┤ model, 95 % interval    | base rate    ◉ both",
        "",
        f"month    state         events   model    base  {axis}",
    ]
    for month, state, events, loss, low, high, base in table.itertuples(index=False):
        chart = interval_line(scale, low, loss, high, base)
        lines.append(f"{month}  {state:<11}{events:>9,}{loss:8.4f}{base:8.4f}  {chart}")
    return lines
