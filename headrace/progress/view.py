"""Shows a run on stderr while it goes on: a full screen on a terminal, single lines everywhere else."""

from __future__ import annotations

from typing import Protocol

from rich.console import Console
from rich.live import Live

from headrace.progress.frame import Frame
from headrace.progress.lines import ProgressLines
from headrace.progress.screen.layout import screen


class ProgressView(Protocol):
    """`details_every_s`: how old the details of a frame may be."""

    details_every_s: float

    def show(self, frame: Frame) -> None:
        """Called several times a second."""
        ...

    def say(self, text: str) -> None:
        """Show a line that is to stay."""
        ...

    def close(self) -> None: ...


class LineView:
    """For pipes and logs."""

    details_every_s = 2.0

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = ProgressLines()

    def show(self, frame: Frame) -> None:
        for line in self._progress.lines(frame):
            self.say(line)

    def say(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def close(self) -> None:
        """Nothing is held."""


class LiveView:
    """For a terminal: its alternate screen, so that a resized window leaves no remains.

    Drawn by `show` only: no thread runs beside the supervisor. What was said is printed when the screen closes.
    """

    details_every_s = 1.0

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(
            console=console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False
        )
        self._unprinted: list[str] = []

    def show(self, frame: Frame) -> None:
        if not self._live.is_started:
            self._live.start()
        self._live.update(screen(frame, *self._console.size), refresh=True)

    def say(self, text: str) -> None:
        self._unprinted.append(text)
        if not self._live.is_started:
            self._print()

    def close(self) -> None:
        self._live.stop()
        self._print()

    def _print(self) -> None:
        for text in self._unprinted:
            self._console.print(text, highlight=False, markup=False, soft_wrap=True)
        self._unprinted.clear()


def view_for(console: Console) -> ProgressView:
    drawable = console.is_terminal and not console.is_dumb_terminal and "utf" in console.encoding.lower()
    return LiveView(console) if drawable else LineView(console)
