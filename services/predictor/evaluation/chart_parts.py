"""Parts of charts: figures of a common style, reliability, losses by month. Needs no display, has no global state.

The predictor draws its charts with them, and so does `headrace plot`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from services.predictor.data.events import Bools, Floats, Ints
from services.predictor.evaluation.bootstrap import Interval
from services.predictor.evaluation.measures import ECE_BINS, reliability

DOTS_PER_INCH = 110
HEIGHT_INCHES = 4.2
# Distinguishable with red-green colour blindness (Okabe and Ito 2008).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "osD^vPX"
GREY = "#777777"


@dataclass(frozen=True)
class ReliabilityCurve:
    """By bin of probabilities: mean probability, share of winners with its 95 % interval, number of predictions.

    `edges`: the limits of all bins, also of empty ones, which are NaN in `probability` and `share`.
    """

    edges: Floats
    probability: Floats
    share: Floats
    low: Floats
    high: Floats
    count: Ints

    @property
    def error(self) -> float:
        """Mean of |probability - share|, weighted by count; NaN without predictions."""
        total = self.count.sum()
        return float(np.nansum(np.abs(self.probability - self.share) * self.count) / total) if total else float("nan")


def wilson_curve(predicted: Floats, won: Bools) -> ReliabilityCurve:
    """(m,), (m,) -> the curve in 15 bins, with the intervals of Wilson (1927), which are within 0 and 1."""
    probability, share, count = reliability(predicted, won)
    size = np.maximum(count, 1)
    middle = (share + 2 / size) / (1 + 4 / size)
    reach = 2 * np.sqrt(share * (1 - share) / size + 1 / size**2) / (1 + 4 / size)
    return ReliabilityCurve(np.linspace(0, 1, ECE_BINS + 1), probability, share, middle - reach, middle + reach, count)


def reliability_figure(
    curves: Mapping[str, ReliabilityCurve], title: str, of_shares: str = "share of winners"
) -> Figure:
    """Predicted probability against the share of winners, and below it the number of entries, of each curve."""
    figure, (shares, counts) = new_figure(2, width_inches=5.6, heights=(3, 1), height_inches=6.0, shared=True)
    for index, (label, curve) in enumerate(curves.items()):
        plot_curve(shares, curve, label, index)
        counts.stairs(np.maximum(curve.count, 0.5), curve.edges, color=COLOURS[index % len(COLOURS)], label=label)
    shares.set(ylabel=of_shares, title=title)
    counts.set(xlabel="predicted probability", ylabel="entries", yscale="log", xlim=(0, 1))
    shares.legend(loc="upper left", frameon=False, fontsize=9)
    return figure


def plot_curve(axes: Axes, curve: ReliabilityCurve, label: str, index: int = 0) -> None:
    """`index`: of the curve in the chart, for its colour and marker."""
    if not axes.lines:
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle="--", label="perfect calibration")
    colour, ends = COLOURS[index % len(COLOURS)], np.stack([curve.share - curve.low, curve.high - curve.share])
    axes.errorbar(curve.probability, curve.share, np.maximum(ends, 0), fmt=MARKERS[index % len(MARKERS)], color=colour,
                  markersize=5, linewidth=1, markerfacecolor="none" if index % 2 else colour,
                  label=f"{label}: calibration error {curve.error:.4f}")  # fmt: skip
    axes.set_ylim(-0.03, 1.03)


def loss_by_month_figure(
    months: Sequence[str], losses: Mapping[str, Sequence[Interval]], references: Mapping[str, Sequence[float]]
) -> Figure:
    """`losses`: of each model, one per month, NaN where it has none; `references`: of the base rate, for example."""
    figure, (axes,) = new_figure(1, width_inches=max(5.6, 0.55 * len(months) + 2.5))
    at = np.arange(len(months))
    for index, (name, values) in enumerate(references.items(), start=len(losses)):
        style = ("--", ":", "-.")[(index - len(losses)) % 3]
        axes.plot(at, values, color=COLOURS[index % len(COLOURS)], linestyle=style, linewidth=1.2, marker=".",
                  label=name)  # fmt: skip
    for index, (name, intervals) in enumerate(losses.items()):
        aside = 0.12 * (index - (len(losses) - 1) / 2)
        plot_whiskers(axes, (at + aside).tolist(), intervals, upright=True, label=f"{name}, 95 % interval", index=index)
    axes.set_xticks(at, months, rotation=45 if len(months) > 6 else 0, ha="right" if len(months) > 6 else "center")
    axes.set(ylabel="log-loss of the winner, nats", title="Log-loss by month (lower is better)")
    legend_below(figure, axes)
    return figure


def new_figure(
    rows: int,
    width_inches: float = 6.4,
    height_inches: float = HEIGHT_INCHES,
    heights: Sequence[float] = (1,),
    shared: bool = False,
    columns: int = 1,
) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(width_inches, height_inches), dpi=DOTS_PER_INCH, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, sharex=shared, squeeze=False, gridspec_kw={"height_ratios": list(heights)})
    for axes in grid.flat:
        axes.grid(color="#e4e4e4", linewidth=0.7)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    return figure, list(grid.flat)


def plot_whiskers(
    axes: Axes,
    at: Sequence[float],
    intervals: Sequence[Interval],
    upright: bool,
    label: str | None = None,
    index: int = 0,
) -> None:
    """`index`: of the series in the chart, for its colour and marker."""
    mean, low, high = (np.array(part, dtype=np.float64) for part in zip(*intervals, strict=True))
    ends = np.maximum(np.stack([mean - low, high - mean]), 0)
    style: dict[str, Any] = {"fmt": MARKERS[index % len(MARKERS)], "color": COLOURS[index % len(COLOURS)],
                             "markersize": 4, "linewidth": 1.4, "capsize": 3}  # fmt: skip
    if upright:
        axes.errorbar(at, mean, yerr=ends, label=label, **style)
    else:
        axes.errorbar(mean, at, xerr=ends, label=label, **style)


def legend_below(figure: Figure, axes: Axes) -> None:
    """Outside the axes, where no curve crosses it."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=1 if not labels else min(len(labels), 3, max(1, 66 // (6 + max(map(len, labels))))),
        frameon=False,
        fontsize=9,
    )
