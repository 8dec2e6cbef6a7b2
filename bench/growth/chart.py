"""Draws the cost and the size by month."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bench.growth.report import BAR, cost_us
from bench.growth.site import LoadedPart

COLOURS = ("#0072B2", "#D55E00", "#009E73")


def draw(months: Sequence[LoadedPart], path: Path) -> None:
    """Write an image; the suffix is its format."""
    figure = Figure(figsize=(9.0, 7.0), layout="constrained")
    cost, size, dead = figure.subplots(3, 1, sharex=True)
    numbers = range(1, len(months) + 1)
    cost.plot(numbers, [cost_us(part) for part in months], color=COLOURS[0], label="loader and its sessions")
    cost.plot(numbers, [part.cpu_us().sessions for part in months], color=COLOURS[1], label="of it the sessions")
    cost.axhline(BAR * cost_us(months[0]), color="#777777", linestyle=":", label=f"{BAR} times the first month")
    cost.set_ylabel("CPU time, us per record")
    size.plot(numbers, [sum(each.table_bytes for each in part.tables) / 1e9 for part in months], color=COLOURS[0],
              label="tables")  # fmt: skip
    size.plot(numbers, [sum(each.index_bytes for each in part.tables) / 1e9 for part in months], color=COLOURS[1],
              label="indexes")  # fmt: skip
    size.set_ylabel("size, GB")
    dead.plot(numbers, [sum(each.dead for each in part.tables) / 1e3 for part in months], color=COLOURS[2],
              label="dead rows")  # fmt: skip
    dead.set_ylabel("thousand rows")
    dead.set_xlabel(f"month, each of {months[0].records:,} records")
    for axes in (cost, size, dead):
        axes.set_ylim(bottom=0)
        axes.legend(fontsize=8)
    dead.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.savefig(path)
