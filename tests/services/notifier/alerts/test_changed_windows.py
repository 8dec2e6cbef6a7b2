"""Which changes of final documents have an incident, and how an acknowledgement ends it."""

from __future__ import annotations

from datetime import timedelta

from services.notifier.alerts.changed_windows import MAX_SUBJECTS, TOGETHER, changes_by_subject
from services.notifier.alerts.reading import AcknowledgedChanges, ChangeReading
from tests.services.notifier.alerts.readings import NOON, healthy

RULE = "window-changed"
MINUTE = timedelta(minutes=1)


def change(day: int, minutes: int = 0, events: int = 3) -> ChangeReading:
    return ChangeReading(window(day), NOON + minutes * MINUTE, events, ("an event changed",))


def window(day: int) -> str:
    return f"river/results/2031-05-{day:02}"


def acknowledged(subject: str, *days: int, minutes: int = 0, is_open: bool = False) -> AcknowledgedChanges:
    windows = frozenset(map(window, days))
    return AcknowledgedChanges(RULE, subject, windows, NOON + minutes * MINUTE, is_open)


def subjects(
    *changes: ChangeReading,
    acknowledgements: tuple[AcknowledgedChanges, ...] = (),
    open_subjects: tuple[str, ...] = (),
    min_events: float = 1,
    rule: str = RULE,
) -> dict[str, int]:
    """The number of changes by subject."""
    reading = healthy(changes=changes, acknowledged=acknowledgements)
    found = changes_by_subject(reading, rule, min_events, open_subjects)
    return {subject: len(each) for subject, each in found.items()}


def test_each_window_has_a_subject_of_its_own() -> None:
    assert subjects(change(1), change(2)) == {window(1): 1, window(2): 1}


def test_many_windows_have_one_subject_together() -> None:
    many = [change(day) for day in range(1, MAX_SUBJECTS + 2)]

    assert subjects(*many[:-1]) == {window(day): 1 for day in range(1, MAX_SUBJECTS + 1)}
    assert subjects(*many) == {TOGETHER: MAX_SUBJECTS + 1}
    assert subjects(*many, open_subjects=(window(2),)) == {window(2): 1, TOGETHER: MAX_SUBJECTS}


def test_windows_stay_together_while_their_incident_is_open() -> None:
    assert subjects(change(1), change(2), open_subjects=(TOGETHER,)) == {TOGETHER: 2}


def test_a_change_with_fewer_events_than_the_threshold_is_not_told() -> None:
    assert subjects(change(1, events=4), change(2, events=5), min_events=5) == {window(2): 1}
    assert subjects(change(1, events=0), min_events=0) == {}


def test_an_acknowledged_change_is_not_told_again_but_a_later_one_of_its_window_is() -> None:
    seen = (acknowledged(window(1), 1, minutes=5),)

    assert subjects(change(1, minutes=5), acknowledgements=seen) == {}
    assert subjects(change(1, minutes=6), acknowledgements=seen) == {window(1): 1}


def test_an_acknowledgement_of_several_windows_counts_for_those_that_it_names() -> None:
    seen = (acknowledged(TOGETHER, 1, 2),)

    assert subjects(change(1), change(2), change(3), acknowledgements=seen) == {window(3): 1}


def test_an_acknowledged_incident_gets_no_more_changes_before_it_ends() -> None:
    seen = (acknowledged(window(1), 1, is_open=True),)

    assert subjects(change(1, minutes=1), acknowledgements=seen, open_subjects=(window(1),)) == {}


def test_an_acknowledgement_counts_for_its_rule_only() -> None:
    assert subjects(change(1), acknowledgements=(acknowledged(window(1), 1),), rule="other") == {window(1): 1}
