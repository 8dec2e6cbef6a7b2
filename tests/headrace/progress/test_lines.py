"""What is printed where there is no terminal."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from headrace.progress.frame import Frame, Phase
from headrace.progress.lines import ProgressLines
from tests.headrace.progress.frames import BEGINS, DETAILS, FRAME, LOADING, stage

TRAINING = Phase("train", "training a model")


def loading(elapsed_s: float, loaded: float) -> Frame:
    stages = (stage("fetcher", records=400), stage("loader", records=round(1000 * loaded)))
    return replace(FRAME, phase=LOADING, elapsed_s=elapsed_s, loaded=loaded, stages=stages, details=DETAILS)


def live(minutes: float) -> Frame:
    return replace(FRAME, elapsed_s=100 + minutes / 5, now=BEGINS + timedelta(minutes=minutes))


def printed(*frames: Frame) -> list[str]:
    progress = ProgressLines()
    return [line for frame in frames for line in progress.lines(frame)]


def test_a_phase_is_announced_once() -> None:
    assert printed(loading(1, 0), loading(2, 0)) == ["   1.0 s  loading 60 days of history"]


def test_loading_says_how_far_it_is_every_ten_seconds() -> None:
    lines = printed(*(loading(second, second / 40) for second in range(25)))

    assert lines[1:] == [
        "  10.0 s  25 %, 400 records fetched, 250 records loaded",
        "  20.0 s  50 %, 400 records fetched, 500 records loaded",
    ]


def test_where_nothing_has_changed_nothing_is_printed() -> None:
    assert len(printed(*(loading(second, 0.5) for second in range(60)))) == 2


def test_a_live_day_has_a_line_every_hour_of_its_own_clock_and_the_newest_message() -> None:
    scores = {minute: replace(DETAILS.score, settled=minute // 4) for minute in range(0, 150, 5)}
    frames = [replace(live(minute), details=replace(DETAILS, score=score)) for minute, score in scores.items()]

    assert printed(*frames)[1:] == [
        " 112.0 s  11:00 JST  48 events predicted, 15 of them settled, the favourite won 11 (10.6 expected)",
        " 112.0 s  sent: Favourite · Kawabe 2031-05-06, event 8 · 1 たき_づつみ けいすけ wins with probability 77.3 %",
        " 124.0 s  12:00 JST  48 events predicted, 30 of them settled, the favourite won 11 (10.6 expected)",
    ]


def test_messages_that_were_there_before_are_no_news() -> None:
    frames = [replace(live(minute), details=replace(DETAILS, predictions=minute)) for minute in range(0, 70, 5)]

    assert not any("sent:" in line for line in printed(loading(1, 0.5), *frames))


def test_a_program_that_runs_beside_has_its_own_log() -> None:
    training = [replace(FRAME, phase=TRAINING, elapsed_s=second, activity=("a line",)) for second in range(0, 60, 5)]

    assert printed(*training) == ["   0.0 s  training a model"]
