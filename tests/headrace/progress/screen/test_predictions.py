"""Predictions, and what became of them."""

from __future__ import annotations

from dataclasses import replace

from headrace.progress.frame import EventForecast, HitRate
from headrace.progress.screen.predictions import score_text
from tests.headrace.progress.frames import DETAILS, FRAME, event, rows_of


def row_of(forecast: EventForecast, width: int = 150) -> str:
    frame = replace(FRAME, details=replace(DETAILS, started=(forecast,)))
    starts = f"{frame.local(forecast.starts_at):%H:%M} Kawabe {forecast.number} "
    return next(row for row in rows_of(frame, width, 45) if starts in row)


def test_the_next_event_is_shown_with_every_entry() -> None:
    rows = rows_of(FRAME, 150, 45)

    title = next(index for index, row in enumerate(rows) if "Kawabe 9  starts 12:37, in 7 min" in row)
    assert [row.split()[1] for row in rows[title + 1 : title + 7]] == ["1", "2", "3", "4", "5", "6"]
    assert "55 %" in rows[title + 1]


def test_a_hit_says_what_it_paid() -> None:
    assert "✔   1.6 ×   the favourite" in row_of(event(7, -20, status="settled", winners=(1,), payout=160))


def test_a_miss_names_the_winner_and_the_chance_it_was_given() -> None:
    assert "✘  12.4 ×   4 たきづつみ 4 8 %" in row_of(event(7, -20, status="settled", winners=(4,), payout=1240))


def test_of_a_dead_heat_every_winner_is_named() -> None:
    row = row_of(event(7, -20, status="settled", winners=(2, 4), payout=310), width=200)

    assert "2 たきづつみ 2 20 %, 4 たきづつみ 4 8 %" in row


def test_without_a_result_an_event_has_started_or_will_not_take_place() -> None:
    assert "… started" in row_of(event(7, -2))
    assert "– cancelled" in row_of(event(7, -2, status="cancelled"))


def test_a_name_cannot_move_the_cursor_or_break_the_row() -> None:
    entries = tuple(replace(entry, name="x\x1b[2J\ny" * 20) for entry in event(7, 0).entries)

    assert "\x1b" not in "".join(
        rows_of(replace(FRAME, details=replace(DETAILS, started=(event(7, -2, entries=entries),))), 150, 45)
    )


def test_the_score_compares_hits_with_what_the_chances_promise() -> None:
    assert score_text(HitRate(48, 20, 11, 10.61)) == "the favourite won 11 of 20, 10.6 expected"
    assert score_text(HitRate(48)) == "48 events predicted"
    assert score_text(HitRate()) == ""
