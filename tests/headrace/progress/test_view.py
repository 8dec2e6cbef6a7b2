"""The views themselves: which one is used where, and what they leave behind."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from headrace.progress.view import LineView, LiveView, view_for
from tests.headrace.progress.frames import FRAME, LOADING

ALTERNATE_SCREEN, NORMAL_SCREEN = "\x1b[?1049h", "\x1b[?1049l"


class Out(StringIO):
    """A file with an encoding, as a terminal has one."""

    def __init__(self, encoding: str) -> None:
        super().__init__()
        self._encoding = encoding

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._encoding


def terminal(encoding: str = "utf-8", **given: object) -> Console:
    fixed = {"width": 150, "height": 45, "force_terminal": True, "_environ": {"TERM": "xterm-256color"}}
    return Console(file=Out(encoding), **{**fixed, **given})  # type: ignore[arg-type]


def written(console: Console) -> str:
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("console", "view"),
    [
        (terminal(), LiveView),
        (terminal(encoding="ascii"), LineView),
        (terminal(force_terminal=False), LineView),
        (terminal(_environ={"TERM": "dumb"}), LineView),
    ],
)
def test_the_screen_is_for_terminals_that_can_show_it(console: Console, view: type) -> None:
    assert type(view_for(console)) is view


def test_a_live_view_leaves_the_screen_as_it_was_and_then_prints_the_lines() -> None:
    console = terminal()
    view = LiveView(console)
    view.say("before")
    view.show(FRAME)
    view.say("a service ended")
    view.show(FRAME)
    view.close()

    before, live, after = (
        part for half in written(console).split(ALTERNATE_SCREEN) for part in half.split(NORMAL_SCREEN)
    )
    assert "before" in before
    assert "loaded-events" in live
    assert "a service ended" not in live
    assert after.strip().endswith("a service ended")


def test_a_live_view_that_never_showed_anything_leaves_nothing() -> None:
    console = terminal()

    LiveView(console).close()

    assert written(console) == ""


def test_lines_are_whole_however_long_they_are() -> None:
    console = terminal(force_terminal=False, width=20)
    view = LineView(console)

    view.show(replace(FRAME, phase=LOADING, elapsed_s=1.0))
    view.say("[bold] " + "x" * 50)
    view.close()

    assert written(console).splitlines() == ["   1.0 s  loading 60 days of history", "[bold] " + "x" * 50]
