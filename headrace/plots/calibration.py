"""Predicted probabilities of winning against the share that won."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from headrace.frames.accessor import scoring
from headrace.plots.errors import NothingToPlot
from headrace.plots.spans import days_text
from headrace.plots.text_chart import WIDTH, Scale, axis_line, interval_line
from services.predictor.evaluation.chart_parts import ReliabilityCurve, reliability_figure

BINS = 10
NOTHING_SCORED = "no prediction of these days, venues, models and states has a result with exactly one winner"
Tables = Mapping[str, pd.DataFrame]
"""The table of `frame.headrace.calibration()` of each state of knowledge; `attrs["subject"]` says of what it is."""


def calibration_by_state(predictions: pd.DataFrame, results: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Of frames of `hr.predictions(...)` and `hr.results(...)` of the same days. Raises NothingToPlot."""
    scored = scoring.scored_slots(predictions, results)
    if scored.empty:
        raise NothingToPlot(NOTHING_SCORED)
    tables = {
        state: scoring.calibration(predictions[predictions["state"] == state], results, BINS)
        for state in sorted(scored["state"].unique())
    }
    for table in tables.values():
        table.attrs["subject"] = subject(scored)
    return tables


def subject(scored: pd.DataFrame) -> str:
    """What was scored, in two lines."""
    models = scored["model_version"].unique()
    model = f"model {models[0]}" if len(models) == 1 else f"{len(models)} models"
    return f"{scored['event_key'].nunique():,} events, {days_text(scored['date'])}\n{model}"


def calibration_figure(tables: Tables) -> Figure:
    curves = {state: _curve(table) for state, table in tables.items()}
    return reliability_figure(curves, f"Calibration of P(win)\n{_subject(tables)}", "share of winners, 95 % interval")


def calibration_text(tables: Tables) -> list[str]:
    """A row per bin: the share of winners with its interval, and the mean prediction."""
    scale = Scale(0.0, 1.0, WIDTH - 31)
    axis = axis_line(scale, {0.0: "0 %", 0.25: "25", 0.5: "50", 0.75: "75", 1.0: "100 %"})
    lines = [
        "Calibration of P(win)",
        *_subject(tables).splitlines(),
        "",
        "├─●─┤ share of winners, 95 % interval    | mean prediction    ◉ both",
    ]
    for state, table in tables.items():
        lines += ["", f"{state}: calibration error {_curve(table).error:.4f}", f"predicted     won   entries    {axis}"]
        for low, high, count, probability, won, least, most in table.itertuples(index=False):
            row = interval_line(scale, least, won, most, probability)
            lines.append(f"{100 * low:3.0f}-{100 * high:3.0f} %{100 * won:6.1f} %{count:10,}    {row}")
    return lines


def _curve(table: pd.DataFrame) -> ReliabilityCurve:
    bins = (table["from"] * BINS).round().astype(np.int64)
    whole = table.set_index(bins).reindex(range(BINS))
    probability, share, low, high = (whole[name].to_numpy(np.float64) for name in
                                     ("probability", "frequency", "low", "high"))  # fmt: skip
    count = whole["predictions"].fillna(0).to_numpy(np.int64)
    return ReliabilityCurve(np.linspace(0, 1, BINS + 1), probability, share, low, high, count)


def _subject(tables: Tables) -> str:
    return str(next(iter(tables.values())).attrs["subject"])
