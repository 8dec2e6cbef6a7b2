"""Shows the elapsed time and the rows so far of a long query on standard error, if it is a terminal."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import Progress, TextColumn, TimeElapsedColumn

from headrace.terminal.console import ShownConsole

# A shorter query shows nothing.
SHOW_AFTER_S = 1.0
REFRESH_S = 0.2


T = TypeVar("T")


class RowProgress:
    """Counts rows in one thread and shows the count in another."""

    def __init__(self, console: Console, show_after_s: float = SHOW_AFTER_S) -> None:
        self._console = console
        self._show_after_s = show_after_s
        self._stop = threading.Event()
        self._rows = 0

    def counted(self, rows: Iterator[T]) -> Iterator[T]:
        for row in rows:
            self._rows += 1
            yield row

    def show(self) -> None:
        """Show the progress from `show_after_s` until `stop`."""
        columns = (TextColumn("running for"), TimeElapsedColumn(), TextColumn("{task.completed:,} rows"))
        if self._stop.wait(self._show_after_s):
            return
        # Without the redirection of rich, which would write the rows to standard error.
        with Progress(
            *columns, console=self._console, transient=True, redirect_stdout=False, redirect_stderr=False
        ) as progress:
            task = progress.add_task("query", total=None)
            while not self._stop.wait(REFRESH_S):
                progress.update(task, completed=self._rows)

    def stop(self) -> None:
        self._stop.set()


@contextmanager
def row_progress(*, wanted: bool) -> Iterator[RowProgress]:
    """The progress of the block's rows. Nothing is shown if it is not `wanted` or if standard error is no terminal."""
    progress = RowProgress(ShownConsole(stderr=True, highlight=False))
    if not wanted or not sys.stderr.isatty():
        yield progress
        return
    thread = threading.Thread(target=progress.show, name="progress", daemon=True)
    thread.start()
    try:
        yield progress
    finally:
        progress.stop()
        thread.join()
