"""The pipeline as a picture: the stages with the topics between them, in a row, or in a column on narrow screens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from headrace.progress.frame import Stage, StageState
from headrace.progress.text import sparkline
from shared.topics import STREAMS

ROW_HEIGHT, COLUMN_HEIGHT, SHORT_HEIGHT = 7, 10, 6
LEAST_BOX, MOST_BOX, LEAST_ARROW = 16, 26, 14
LEAST_ROW = 5 * LEAST_BOX + 4 * LEAST_ARROW
STYLES: Mapping[StageState, tuple[str, str]] = {
    "running": ("●", "green"),
    "starting": ("◌", "cyan"),
    "restarting": ("◌", "yellow"),
    "paused": ("‖", "yellow"),
    "waiting": ("◌", "yellow"),
    "held back": ("▲", "red"),
    "failed": ("✘", "red"),
    "stopped": ("○", "dim"),
}


def pipeline(stages: Sequence[Stage], topics: Mapping[str, int], width: int, height: int) -> RenderableType:
    if height_of(width, height) == ROW_HEIGHT:
        return _row(stages, topics, width)
    return _column(stages, topics if height_of(width, height) == COLUMN_HEIGHT else {}, width)


def height_of(width: int, height: int) -> int:
    """How many rows the picture takes on a screen of this size."""
    if width >= LEAST_ROW:
        return ROW_HEIGHT
    return COLUMN_HEIGHT if height >= 24 else SHORT_HEIGHT


def state_text(stage: Stage) -> Text:
    """The state with its mark. A stage that is paused on some of its topics is partly paused."""
    status = stage.status
    mark, style = STYLES[status.state]
    replicas = f" ×{status.replicas}" if status.replicas > 1 else ""
    text = Text(f"{mark} {status.state}{replicas}", style=style)
    if status.paused_on and status.state == "running":
        return Text("‖ partly paused", style="yellow")
    return text


def _row(stages: Sequence[Stage], topics: Mapping[str, int], width: int) -> Table:
    box_width = min(MOST_BOX, max(LEAST_BOX, (width - 4 * LEAST_ARROW) // 5))
    arrow_width = (width - 5 * box_width) // 4
    table = Table.grid()
    cells: list[RenderableType] = []
    for index, stage in enumerate(stages):
        cells.append(_box(stage, box_width))
        if index < len(STREAMS):
            paused = STREAMS[index] in stages[index + 1].status.paused_on if index + 1 < len(stages) else False
            cells.append(_arrow(STREAMS[index], topics, arrow_width, paused))
    for _ in cells:
        table.add_column(no_wrap=True)
    table.add_row(*cells)
    return table


def _box(stage: Stage, width: int) -> Panel:
    inner = width - 3
    rate = f"{stage.per_s:,.0f}/s "
    lines = [
        state_text(stage),
        Text(f"{stage.records:,} records"),
        Text(rate) + Text(sparkline(stage.rates, inner - len(rate)), style="cyan"),
        _behind(stage),
        Text(stage.product, style="bold"),
    ]
    for line in lines:
        line.truncate(inner, overflow="ellipsis")
    style = STYLES[stage.status.state][1]
    return Panel(
        Group(*lines),
        title=Text(stage.service, style="bold"),
        title_align="left",
        width=width,
        height=ROW_HEIGHT,
        box=box.ROUNDED,
        border_style=style if style != "green" else "cyan",
        padding=(0, 0, 0, 1),
    )


def _behind(stage: Stage) -> Text:
    if stage.behind:
        return Text(f"{stage.behind:,} to do", style="yellow")
    return Text("up to date" if stage.status.state == "running" else "", style="dim")


def _arrow(topic: str, topics: Mapping[str, int], width: int, paused: bool) -> Group:
    style = "yellow" if paused else "cyan"
    shaft = "─" * ((width - 6) // 2)
    line = f"{shaft} ‖ {shaft}▶" if paused else "─" * (width - 3) + "▶"
    size = f"{topics[topic]:,}" if topic in topics else ""
    lines = [Text(""), Text(""), Text(topic, style="cyan"), Text(line, style=style), Text(size, style="dim")]
    for each in lines:
        each.align("center", width)
    return Group(*lines)


def _column(stages: Sequence[Stage], topics: Mapping[str, int], width: int) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0), expand=False)
    roomy = width >= 70
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, min_width=14)
    for _ in range(3):
        table.add_column(no_wrap=True, justify="right")
    if roomy:
        table.add_column(no_wrap=True, min_width=20)
    head = [Text(name, style="dim") for name in ("stage", "state", "records", "per s", "to do", "")]
    table.add_row(*head[: 6 if roomy else 5])
    for index, stage in enumerate(stages):
        cells = [
            Text(stage.service, style="bold"),
            state_text(stage),
            Text(f"{stage.records:,}"),
            Text(f"{stage.per_s:,.0f}"),
            Text(f"{stage.behind:,}", style="yellow" if stage.behind else "dim"),
            Text(stage.product),
        ]
        table.add_row(*cells[: 6 if roomy else 5])
        if topics and index < len(STREAMS):
            topic = STREAMS[index]
            table.add_row(Text(f"▼ {topic}", style="cyan"), "", Text(f"{topics.get(topic, 0):,}", style="dim"))
    return table
