"""A condition is reported when it changes."""

from __future__ import annotations

from headrace.run.say_once import SayOnce


def test_a_state_is_printed_when_it_begins_and_again_when_it_returns() -> None:
    printed: list[str] = []
    say_once = SayOnce(printed.append)

    for state in ("away", "away", "", "away"):
        say_once("database", state, [state] if state else [])

    assert printed == ["away", "away"]


def test_subjects_do_not_disturb_each_other() -> None:
    printed: list[str] = []
    say_once = SayOnce(printed.append)

    for subject in ("paused", "held back", "paused"):
        say_once(subject, ["raw-events"], [subject])

    assert printed == ["paused", "held back"]
