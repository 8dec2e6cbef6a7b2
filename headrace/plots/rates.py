"""Share of wins, and mean return of one unit staked on a win, by venue and slot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from headrace.frames.accessor.betting import STAKE
from headrace.frames.accessor.columns import require
from headrace.plots.errors import NothingToPlot
from headrace.plots.spans import days_text
from headrace.plots.text_chart import WIDTH
from services.predictor.evaluation.chart_parts import GREY, new_figure

ALL = "all"
# With fewer entries a rate is mostly chance: its cell has no colour, and in text it stands in parentheses.
MIN_ENTRIES = 30
Floats = npt.NDArray[np.float64]


def rates_by_venue(results: pd.DataFrame) -> pd.DataFrame:
    """Of a frame of `hr.results(...)`: one row per venue and slot, and per slot over all venues (venue "all").

    Columns: venue (text, two digits); slot; entries; won (share of entries that won; only events with a winner count);
    return (mean return of one unit staked, 1 returns the stake; NaN without payouts). Raises NothingToPlot.
    """
    require(results, "results", ["event_key", "source", "venue", "slot", "place", "win_amount"])
    if results["source"].nunique() > 1:
        sources = ", ".join(sorted(results["source"].unique()))
        raise NothingToPlot(f"venues of several sources ({sources}) do not fit in one picture: choose a source")
    winner = (results["place"] == 1).fillna(False).astype("bool")
    has_winner = winner.groupby(results["event_key"]).transform("any").to_numpy(dtype=bool)
    decided = results[has_winner]
    if decided.empty:
        raise NothingToPlot("no event of these days and venues has a result with a winner")
    data = pd.DataFrame({
        "venue": [f"{venue:02}" for venue in decided["venue"]],
        "slot": decided["slot"].to_numpy(np.int64),
        "won": winner[has_winner].to_numpy(np.float64),
        "return": decided["win_amount"].to_numpy(np.float64, na_value=np.nan) / STAKE,
    })  # fmt: skip
    both = pd.concat([data, data.assign(venue=ALL)])
    figures = both.groupby(["venue", "slot"]).agg(
        entries=("won", "size"), won=("won", "mean"), **{"return": ("return", "mean")}
    )
    rates = figures.reset_index()
    rates.attrs["title"] = f"Wins by venue and slot: {len(decided):,} entries, {days_text(decided['date'])}"
    return rates


def rates_figure(rates: pd.DataFrame) -> Figure:
    """Two heat maps with numbers; the second one is left out if there are no payouts."""
    has_returns = bool(rates["return"].notna().any())
    venues, slots = _labels(rates)
    height = 1.5 + 0.27 * len(venues)
    width = (1.1 + 0.62 * len(slots)) * (2 if has_returns else 1) + 0.8
    figure, axes = new_figure(1, max(5.2, width), height, columns=2 if has_returns else 1)
    shares = _matrix(rates, "won") * 100
    _heat_map(axes[0], rates, shares, shares - shares[-1], "{:.1f}")
    axes[0].set(title="share of wins, %\n(purple: above the slot's mean, orange: below)", ylabel="venue")
    if has_returns:
        returns, mean = _matrix(rates, "return"), _overall(rates)
        _heat_map(axes[1], rates, returns, returns - mean, "{:.2f}")
        axes[1].set(title=f"mean return of one unit staked on a win\n(purple: above the mean of all, {mean:.2f})")
    figure.suptitle(rates.attrs["title"], fontsize=12)
    return figure


def rates_text(rates: pd.DataFrame) -> list[str]:
    """Lines of two tables, side by side if they fit in 80 columns."""
    venues, slots = _labels(rates)
    blocks = [("share of wins, %", _matrix(rates, "won") * 100, ".1f")]
    if rates["return"].notna().any():
        blocks.append(("mean return of one unit staked on a win", _matrix(rates, "return"), ".2f"))
    few = _matrix(rates, "entries") < MIN_ENTRIES
    tables = [_table(title, values, few, slots, digits) for title, values, digits in blocks]
    names = ["", "venue", *venues]
    has_room = 5 + sum(2 + max(map(len, table)) for table in tables) <= WIDTH
    groups = [tables] if has_room else [[table] for table in tables]
    lines = [rates.attrs["title"], ""]
    for group in groups:
        width = max(map(len, group[0]))
        for row, name in enumerate(names):
            lines.append("  ".join([name.rjust(5), *(table[row].ljust(width) for table in group)]).rstrip())
        lines.append("")
    return [*lines, *([f"(x): fewer than {MIN_ENTRIES} entries"] if few.any() else [])]


def _table(title: str, values: Floats, few: npt.NDArray[np.bool_], slots: Sequence[int], digits: str) -> list[str]:
    rows = [
        "".join(_cell(value, is_rare, digits) for value, is_rare in zip(line, marks, strict=True))
        for line, marks in zip(values, few, strict=True)
    ]
    return [title, "".join(f"{slot:>5} " for slot in slots), *rows]


def _cell(value: float, is_rare: bool, digits: str) -> str:
    text = "-" if np.isnan(value) else format(value, digits)
    return f"({text})".rjust(6) if is_rare and text != "-" else f"{text:>5} "


def _labels(rates: pd.DataFrame) -> tuple[list[str], list[int]]:
    """Venues, then all of them, and slots."""
    venues = sorted(set(rates["venue"]) - {ALL})
    return [*venues, ALL], sorted(rates["slot"].unique().tolist())


def _matrix(rates: pd.DataFrame, column: str) -> Floats:
    venues, slots = _labels(rates)
    table = rates.pivot(index="venue", columns="slot", values=column).reindex(index=venues, columns=slots)
    return table.to_numpy(np.float64, na_value=np.nan)


def _overall(rates: pd.DataFrame) -> float:
    known = rates[(rates["venue"] == ALL) & rates["return"].notna()]
    return float(np.average(known["return"], weights=known["entries"]))


def _heat_map(axes: Axes, rates: pd.DataFrame, values: Floats, difference: Floats, text: str) -> None:
    """`values` as numbers; their differences from a mean as colours, orange below and purple above."""
    venues, slots = _labels(rates)
    shown = np.where(_matrix(rates, "entries") >= MIN_ENTRIES, difference, np.nan)
    reach = max(float(np.nanmax(np.abs(shown), initial=0)), 1e-9)
    image = axes.imshow(shown, cmap="PuOr", vmin=-reach, vmax=reach, aspect="auto")
    axes.set_xticks(range(len(slots)), [str(slot) for slot in slots])
    axes.set_yticks(range(len(venues)), venues)
    axes.set(xlabel="slot")
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.axhline(len(venues) - 1.5, color="black", linewidth=0.8)
    for (row, column), value in np.ndenumerate(values):
        if not np.isnan(value):
            blank = bool(np.isnan(shown[row, column]))
            colour = GREY if blank else _readable_on(image.cmap(image.norm(shown[row, column])))
            axes.text(column, row, text.format(value), ha="center", va="center", fontsize=8, color=colour)


def _readable_on(background: Any) -> str:
    red, green, blue = background[:3]
    return "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 0.5 else "white"
