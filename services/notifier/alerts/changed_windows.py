"""Decides which changes of final documents are told, and by which incidents.

Each changed window has an incident of its own, which ends when a person acknowledges it or when the fetcher no longer
reports the change (after a day). If many windows change, they have one incident together.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from services.notifier.alerts.reading import ChangeReading, PipelineReading

# With more changes, those without an incident of their own are told together.
MAX_SUBJECTS = 5
TOGETHER = "several windows"


def changes_by_subject(
    reading: PipelineReading, rule: str, min_events: float, open_subjects: Collection[str]
) -> Mapping[str, Sequence[ChangeReading]]:
    """The changes that no person has acknowledged by an incident of the rule, with at least `min_events` events, by the
    subject of their incident. `open_subjects`: those of the rule's open incidents.

    An acknowledged incident gets no more changes: it ends, and the next one opens afterwards.
    """
    acknowledged = [each for each in reading.acknowledged if each.rule == rule]
    ending = {each.subject for each in acknowledged if each.is_open}
    changes = [
        change
        for change in reading.changes or ()
        if change.events >= max(1, min_events)
        and not any(change.window in each.windows and change.at <= each.until for each in acknowledged)
    ]
    own: dict[str, Sequence[ChangeReading]] = {
        change.window: (change,) for change in changes if change.window in open_subjects
    }
    others = tuple(change for change in changes if change.window not in own)
    is_together = (TOGETHER in open_subjects and TOGETHER not in ending) or len(changes) > MAX_SUBJECTS
    if others:
        own |= {TOGETHER: others} if is_together else {change.window: (change,) for change in others}
    return {subject: each for subject, each in own.items() if subject not in ending}
