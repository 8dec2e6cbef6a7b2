"""The whole screen, in every size and state."""

from __future__ import annotations

from dataclasses import replace

import pytest

from headrace.progress.frame import Details, Frame, Phase, StageStatus
from tests.headrace.progress.frames import DETAILS, FRAME, LOADING, rows_of, stage, text_of

SIZES = [(width, height) for width in (20, 40, 60, 80, 100, 110, 150, 200, 260) for height in (5, 12, 24, 30, 45, 70)]
EMPTY = Frame("run", ("load",), Phase("load", "loading"), stages=())


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize(
    "frame",
    [FRAME, EMPTY, replace(FRAME, notices=("something is wrong",) * 3), replace(FRAME, activity=("a line",) * 12)],
    ids=["live", "empty", "notices", "activity"],
)
def test_a_screen_of_any_size_is_filled_and_nothing_overflows(frame: Frame, width: int, height: int) -> None:
    assert len(rows_of(frame, width, height)) == height


@pytest.mark.parametrize(("width", "height"), [(100, 30), (150, 30), (150, 45), (200, 50)])
def test_what_matters_is_on_screens_of_the_usual_sizes(width: int, height: int) -> None:
    text = text_of(FRAME, width, height)

    for part in ("12:30 JST", "31 %", "fetcher", "loaded-events", "9,001", "たきづつみ 1", "55 %", "Favourite"):
        assert part in text, part


def test_while_history_is_loaded_the_results_and_the_tables_are_shown() -> None:
    details = replace(DETAILS, upcoming=(), started=())

    text = text_of(replace(FRAME, phase=LOADING, loaded=0.42, details=details))

    assert "42 %" in text
    assert "2031-05-06 11:30  Kawabe 5" in text
    assert "2,928  events" in text
    assert "Favourite" not in text


def test_before_anything_is_loaded_the_screen_says_so() -> None:
    assert "nothing is loaded yet" in text_of(replace(FRAME, phase=LOADING, details=Details()))


def test_a_program_that_runs_shows_its_last_lines() -> None:
    assert "2427 events to learn from" in text_of(replace(FRAME, activity=("2427 events to learn from",)))


def test_notices_are_shown_where_there_are_any() -> None:
    assert "! the cleaner is paused" in text_of(replace(FRAME, notices=("the cleaner is paused",)))


def test_a_pause_is_shown_at_its_stage_and_on_the_topic() -> None:
    paused = stage("cleaner", "paused", status=StageStatus("paused", 1, ("raw-events",)), behind=120)

    text = text_of(replace(FRAME, stages=(FRAME.stages[0], paused, *FRAME.stages[2:])))

    assert "‖ paused" in text
    assert "120 to do" in text
    assert "─ ‖ ─" in text


def test_the_log_keeps_the_last_lines_in_sight() -> None:
    assert "history is loaded" in rows_of(FRAME, 150, 45)[-1]


def test_a_stage_that_is_paused_on_some_topics_is_partly_paused() -> None:
    loader = stage("loader", status=StageStatus("running", 1, ("clean-events",)))

    assert "‖ partly paused" in text_of(replace(FRAME, stages=(*FRAME.stages[:2], loader, *FRAME.stages[3:])))
