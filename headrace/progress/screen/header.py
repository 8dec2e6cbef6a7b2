"""The top of the screen: the steps of the run, the progress of the current one, and the clocks."""

from __future__ import annotations

from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from headrace.progress.frame import Frame
from headrace.progress.text import duration, percent

HEIGHT = 4


def header(frame: Frame, width: int) -> Table:
    """Four rows, the last one blank."""
    table = Table.grid(expand=True)
    table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    table.add_row(_title(frame, width))
    table.add_row(_between(Text(frame.phase.text, style="bold"), _figures(frame), width))
    table.add_row(_progress(frame, width))
    table.add_row("")
    return table


def _title(frame: Frame, width: int) -> Text:
    title = Text.assemble((" headrace ", "bold black on cyan"), "  ", (frame.title, "cyan"))
    steps = Text("   ")
    current = frame.steps.index(frame.phase.name) if frame.phase.name in frame.steps else -1
    for index, step in enumerate(frame.steps if len(frame.steps) > 1 else ()):
        mark, style = ("✔", "green") if index < current else ("●", "bold cyan") if index == current else ("○", "dim")
        steps.append(f"{mark} {step}   ", style=style)
    left = title + steps if title.cell_len + steps.cell_len + 10 <= width else title
    return _between(left, Text(duration(frame.elapsed_s), style="dim"), width)


def _figures(frame: Frame) -> Text:
    """To the right of the phase: its clock, or how long it takes already, and how far it is."""
    parts = Text()
    if frame.now is not None and frame.phase.measure != "load":
        parts.append(f"{frame.local(frame.now):%H:%M %Z}", style="bold yellow")
    else:
        parts.append(duration(frame.phase_s), style="dim")
    fraction = frame.fraction()
    return parts if fraction is None else parts.append(f"  {percent(fraction)}", style="bold")


def _progress(frame: Frame, width: int) -> ProgressBar | Text:
    """A bar; one that moves where only the time is known; nothing where a phase has no end."""
    fraction = frame.fraction()
    if fraction is not None:
        return ProgressBar(total=1.0, completed=fraction, width=width, complete_style="cyan", finished_style="green")
    if len(frame.steps) > 1:
        return ProgressBar(total=1.0, width=width, pulse=True, pulse_style="cyan", animation_time=frame.elapsed_s)
    return Text("─" * width, style="dim")


def _between(left: Text, right: Text, width: int) -> Text:
    """Both in one row; the left one gives way."""
    room = max(0, width - right.cell_len - 2)
    fitted = left.copy()
    fitted.truncate(room, overflow="ellipsis", pad=True)
    return Text.assemble(fitted, "  ", right)
