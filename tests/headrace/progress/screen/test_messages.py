"""Messages as people read them."""

from __future__ import annotations

from dataclasses import replace

from headrace.progress.frame import SentMessage
from headrace.progress.screen.messages import text_of
from services.notifier.texts import message
from tests.headrace.progress.frames import DETAILS, FRAME, TIP, rows_of


def test_markdown_becomes_style_and_lines_stay_lines() -> None:
    text = text_of(TIP)

    assert text.plain.splitlines() == [
        "Favourite · Kawabe 2031-05-06, event 8",
        "1 たき_づつみ けいすけ wins with probability 77.3 %",
        "A third line.",
    ]
    assert [text.plain[span.start : span.end] for span in text.spans] == ["Favourite"]


def test_what_the_notifier_makes_safe_is_readable_again() -> None:
    name = "*a_b* <@everyone> [x](y) www.z"

    assert text_of(SentMessage(1, "tip", message.escape(name))).plain == name


def test_control_characters_do_not_reach_the_terminal() -> None:
    assert "\x1b" not in text_of(SentMessage(1, "tip", "**\x1b[2J** \x1b[1m")).plain


def test_a_message_that_does_not_fit_whole_is_left_for_a_larger_screen() -> None:
    long = SentMessage(2, "daily", "\n".join(f"line {number}" for number in range(40)))
    frame = replace(FRAME, details=replace(DETAILS, messages=(TIP, long)))

    text = "\n".join(rows_of(frame, 150, 45))

    assert "A third line." in text
    assert "line 0" not in text
