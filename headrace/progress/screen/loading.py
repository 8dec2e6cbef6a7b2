"""What a run shows before there are predictions: what is in the database, and the newest results."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from headrace.progress.frame import Frame, LoadedResult
from headrace.progress.text import printable


class Results:
    """One row an event, the newest first; fills the height that it is given."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for result in self._frame.details.results[: options.height or 20]:
            line = self._row(result)
            line.truncate(options.max_width, overflow="ellipsis")
            yield line

    def _row(self, result: LoadedResult) -> Text:
        venue = Text(f"{printable(result.venue)} {result.number}")
        venue.truncate(14, pad=True)
        winner = Text(printable(result.winner), style="bold")
        winner.truncate(26, pad=True)
        paid = f"paid {result.payout / 100:.1f} ×" if result.payout else ""
        start = f"{self._frame.local(result.starts_at):%Y-%m-%d %H:%M}  "
        return Text.assemble((start, "dim"), venue, " ", winner, " ", (paid, "dim"))


def database(rows: Mapping[str, int]) -> Table:
    """Rows of the main tables."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(justify="right", style="bold")
    table.add_column(style="dim")
    for name, count in rows.items():
        table.add_row(f"{count:,}", name)
    return table
