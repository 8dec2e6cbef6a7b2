"""What waited for each service, and what it handled, over the last hours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from headrace.plots.errors import NothingToPlot
from headrace.plots.text_chart import WIDTH
from headrace.progress.text import LEVELS
from services.predictor.evaluation.chart_parts import COLOURS, new_figure
from shared.topics import SERVICES

# A service stores a sample each minute while it runs. A longer pause is a gap in the picture.
GAP_MINUTES = 2.5
Floats = npt.NDArray[np.float64]


class StageLag(NamedTuple):
    """Of one service and topic, by minute: waiting records, age of the oldest in seconds, records handled a minute.

    A value is NaN if it is not known; a row of NaN stands in each gap.
    """

    service: str
    topic: str
    at: pd.DatetimeIndex
    records: Floats
    seconds: Floats
    handled: Floats


def lags_of(history: pd.DataFrame) -> list[StageLag]:
    """Of a frame of `hr.lag_history(...)`: one per service and topic, in the order of the pipeline.

    Topics of retries and dead letters are left out if nothing happened in them. Raises NothingToPlot.
    """
    stages = [
        _stage(str(service), str(topic), part)
        for (service, topic), part in history.groupby(["service", "topic"], observed=True)
        if len(part) > 1
    ]
    if not stages:
        raise NothingToPlot("fewer than two minutes of these hours have a sample: services store one while they run")
    stages = [stage for stage in stages if "." not in stage.topic or _is_busy(stage)]
    return sorted(stages, key=lambda stage: (SERVICES.index(stage.service), stage.topic))


def lag_figure(stages: Sequence[StageLag]) -> Figure:
    """A row for each service and topic, a column for each measure, on one axis of time."""
    figure, axes = new_figure(len(stages), 11.0, 1.0 + 1.15 * len(stages), [1] * len(stages), shared=True, columns=3)
    ends = [days for stage in stages for days in _plot_days(stage)[[0, -1]]]
    for row, stage in enumerate(stages):
        for column, (_, values, form) in enumerate(_measures(stage)):
            cell = axes[3 * row + column]
            _area(cell, stage, values, COLOURS[column], form)
            cell.set_xlim(min(ends), max(ends))
        axes[3 * row].set_ylabel(f"{stage.service}\n{stage.topic}", rotation=0, ha="right", va="center", labelpad=8)
    for column, (title, *_) in enumerate(_measures(stages[0])):
        axes[column].set_title(title, fontsize=10, pad=14)
        below = axes[3 * (len(stages) - 1) + column]
        locator = AutoDateLocator(minticks=2, maxticks=5)  # type: ignore[no-untyped-call]
        below.xaxis.set_major_locator(locator)
        below.xaxis.set_major_formatter(ConciseDateFormatter(locator, show_offset=False))  # type: ignore[no-untyped-call]
        below.set_xlabel("time, UTC")
    figure.align_ylabels(axes[::3])
    figure.suptitle(_title(stages), fontsize=12)
    return figure


def lag_text(stages: Sequence[StageLag]) -> list[str]:
    """A row for each service and topic and measure, with its course as a line of blocks."""
    width = WIDTH - 56
    head = f"{'service    topic':<28}{'measure':<10}{'now':>7}{'highest':>9}  course"
    lines = [_title(stages), "", head]
    for stage in stages:
        name = f"{stage.service:<10} {stage.topic}"
        for measure, values in (("waiting", stage.records), ("oldest, s", stage.seconds), ("a minute", stage.handled)):
            now, highest = _number(values[-1]), _number(_highest(values))
            course = _course(stage, stages, values, width)
            lines.append(f"{name:<28}{measure:<10}{now:>7}{highest:>9}  {course}".rstrip())
            name = ""
    return [
        *lines,
        "",
        "waiting, oldest: records that wait, and the age of the oldest of them",
        "a minute: records handled a minute",
    ]


def _stage(service: str, topic: str, part: pd.DataFrame) -> StageLag:
    part = part.sort_values("at").set_index("at")
    minutes = part.index.to_series().diff().dt.total_seconds() / 60
    # Positions go back only if an operator sets them.
    handled = part["position"].astype("float64").diff().clip(lower=0) / minutes
    is_gap = (minutes > GAP_MINUTES).to_numpy()
    data = pd.DataFrame({"records": part["records"].astype("float64"), "seconds": part["seconds"],
                         "handled": handled.mask(is_gap)})  # fmt: skip
    gaps = pd.DataFrame(np.nan, index=part.index[is_gap].shift(-1, "min"), columns=data.columns)
    whole = pd.concat([data, gaps]).sort_index()
    columns = [whole[name].to_numpy(np.float64) for name in whole.columns]
    return StageLag(service, topic, pd.DatetimeIndex(whole.index), *columns)


def _is_busy(stage: StageLag) -> bool:
    return bool((stage.records > 0).any() or (stage.handled > 0).any())


def _measures(stage: StageLag) -> Iterator[tuple[str, Floats, str]]:
    yield "waiting records", stage.records, "{:,.0f}"
    yield "age of the oldest, s", stage.seconds, "{:,.0f} s"
    yield "records handled a minute", stage.handled, "{:,.0f}"


def _plot_days(stage: StageLag) -> Floats:
    """The times as matplotlib counts them, in days."""
    days: Floats = date2num(stage.at.tz_localize(None).to_numpy())  # type: ignore[no-untyped-call]
    return days


def _area(axes: Axes, stage: StageLag, values: Floats, colour: str, form: str) -> None:
    at = _plot_days(stage)
    axes.fill_between(at, values, 0, color=colour, alpha=0.25, linewidth=0)
    axes.plot(at, values, color=colour, linewidth=1.2, marker="." if len(values) < 20 else None)
    highest = _highest(values)
    axes.set_ylim(0, 1 if np.isnan(highest) else max(highest * 1.1, 1))
    axes.yaxis.set_major_locator(MaxNLocator(2, integer=True))
    axes.tick_params(labelsize=8)
    text = "not known" if np.isnan(highest) else f"highest {form.format(highest)}"
    axes.text(1.0, 1.02, text, transform=axes.transAxes, ha="right", va="bottom", fontsize=8, color="#444444")


def _course(stage: StageLag, stages: Sequence[StageLag], values: Floats, width: int) -> str:
    """The highest value in each of at most `width` equal parts of the time; blank where nothing is known."""
    first, last = min(each.at[0] for each in stages), max(each.at[-1] for each in stages)
    span_s = max((last - first).total_seconds(), 60.0)
    parts = min(width, round(span_s / 60) + 1)
    share = np.asarray((stage.at - first).total_seconds(), dtype=np.float64) / span_s
    part = np.minimum((share * parts).astype(np.int64), parts - 1)
    highest, top = pd.Series(values).groupby(part).max(), max(_highest(values), 1e-9)
    marks = {at: LEVELS[round((len(LEVELS) - 1) * value / top)] for at, value in highest.dropna().items()}
    return "".join(marks.get(at, " ") for at in range(parts))


def _number(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:,.0f}"


def _highest(values: Floats) -> float:
    known = values[~np.isnan(values)]
    return float(known.max()) if len(known) else float("nan")


def _title(stages: Sequence[StageLag]) -> str:
    first, last = min(stage.at[0] for stage in stages), max(stage.at[-1] for stage in stages)
    end = f"{last:%H:%M}" if first.date() == last.date() else f"{last:%Y-%m-%d %H:%M}"
    return f"Lag and throughput, {first:%Y-%m-%d %H:%M} to {end} UTC"
