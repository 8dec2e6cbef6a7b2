"""The whole screen, for any size: what there is no room for is left out, the least important part first."""

from __future__ import annotations

from rich import box
from rich.console import RenderableType
from rich.layout import Layout
from rich.panel import Panel
from rich.text import Text

from headrace.progress.frame import Frame
from headrace.progress.screen import header, pipeline
from headrace.progress.screen.loading import Results, database
from headrace.progress.screen.messages import Messages
from headrace.progress.screen.predictions import Predictions, score_text

# From this width on, predictions and messages stand side by side.
SIDE_BY_SIDE = 110
# From this height on, a narrow screen shows both, one above the other.
STACKED = 13
LEAST_BODY = 4
LOG_LINES = 4


def screen(frame: Frame, width: int, height: int) -> Layout:
    """Exactly `width` x `height` cells."""
    root = Layout()
    parts = [Layout(header.header(frame, width), size=header.HEIGHT)]
    left = height - header.HEIGHT
    picture = pipeline.height_of(width, height)
    parts.append(Layout(pipeline.pipeline(frame.stages, frame.topics, width, height), size=picture))
    left -= picture
    if frame.notices and left >= 2 + len(frame.notices):
        parts.append(Layout(_notices(frame), size=len(frame.notices) + 1))
        left -= len(frame.notices) + 1
    log_lines = min(LOG_LINES, len(frame.log)) if left - LOG_LINES >= (12 if width >= SIDE_BY_SIDE else 20) else 0
    if left - log_lines >= LEAST_BODY:
        parts.append(_body(frame, width, left - log_lines))
    if log_lines:
        parts.append(Layout(_log(frame, log_lines), size=log_lines))
    root.split_column(*parts)
    return root


def _body(frame: Frame, width: int, height: int) -> Layout:
    first, second = _main(frame, height), _side_panel(frame)
    body = Layout(ratio=1)
    if width >= SIDE_BY_SIDE:
        body.split_row(Layout(first, ratio=2), Layout(second, ratio=1))
    elif height >= STACKED:
        body.split_column(Layout(first, ratio=3), Layout(second, ratio=2))
    else:
        body.update(first)
    return body


def _main(frame: Frame, height: int) -> RenderableType:
    """The main panel, below the lines of a program that runs."""
    lines = Text("\n".join(frame.activity), overflow="ellipsis", no_wrap=True)
    running = _panel(lines, "training")
    size = len(frame.activity) + 2
    if not frame.activity or size + LEAST_BODY > height:
        return running if frame.activity else _main_panel(frame)
    column = Layout()
    column.split_column(Layout(running, size=size), Layout(_main_panel(frame)))
    return column


def _main_panel(frame: Frame) -> Panel:
    details = frame.details
    if details.upcoming or details.started:
        return _panel(Predictions(frame), "predictions", score_text(details.score))
    if details.results:
        return _panel(Results(frame), "newest results")
    return _panel(Text("nothing is loaded yet", style="dim"), "newest results")


def _side_panel(frame: Frame) -> Panel:
    details = frame.details
    if details.messages and (details.upcoming or details.started or not details.results):
        return _panel(Messages(details.messages), "messages", f"{details.sent:,} sent")
    return _panel(database(details.rows), "in the database")


def _panel(content: RenderableType, title: str, remark: str = "") -> Panel:
    heading = Text.assemble((title, "bold"), (f"  {remark}" if remark else "", "dim"))
    return Panel(content, title=heading, title_align="left", box=box.ROUNDED, border_style="dim")


def _notices(frame: Frame) -> Text:
    return Text("\n".join(f"! {notice}" for notice in frame.notices), style="yellow", overflow="ellipsis", no_wrap=True)


def _log(frame: Frame, lines: int) -> Text:
    return Text("\n".join(frame.log[-lines:]), style="dim", overflow="ellipsis", no_wrap=True)
