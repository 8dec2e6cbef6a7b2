"""Remembers the backlogs of the last minutes, and tells which of them do not shrink although they should.

As in the alert LagGrowing (deploy/prometheus/rules/alerts.yml), a backlog is no fault while and shortly after an order
pauses the topic: it is forgotten then, so that the time begins again. The same holds for a replay, a redrive, and
history that is being loaded. If an earlier service has a backlog too, only the earlier one is reported. A partition
that is held back has an alert of its own.
"""

from __future__ import annotations

from collections import deque
from datetime import datetime

from services.notifier.alerts.reading import PipelineReading, StageTopic
from shared.topics import SERVICES, downstream_of

# A longer `for` of a rule counts as this one, because the samples are kept in memory.
MAX_FOR_S = 2 * 3_600.0
# The oldest record of a service that keeps up is younger.
MIN_OLDEST_S = 60.0

Sample = tuple[datetime, int]


class BacklogHistory:
    """Samples of the number of waiting records, by service and topic."""

    def __init__(self) -> None:
        self._samples: dict[StageTopic, deque[Sample]] = {}

    def add(self, reading: PipelineReading) -> None:
        for stage, backlog in reading.backlogs.items():
            samples = self._samples.setdefault(stage, deque())
            if is_expected(reading, stage):
                samples.clear()
            else:
                samples.append((reading.at, backlog.records))
            while samples and _age_s(reading, samples[0]) > 2 * MAX_FOR_S:
                samples.popleft()

    def clear(self) -> None:
        self._samples.clear()

    def is_stuck(self, reading: PipelineReading, stage: StageTopic, for_s: float, threshold: float) -> bool:
        """Whether the backlog has been at least `threshold` for `for_s` and is not smaller than at the begin."""
        samples = self._samples.get(stage, ())
        recent = [each for each in samples if _age_s(reading, each) <= min(for_s, MAX_FOR_S)]
        return (
            bool(recent)
            and (len(recent) < len(samples) or for_s == 0)  # the samples cover the whole time
            and all(records >= threshold for _, records in recent)
            and recent[-1][1] >= recent[0][1]
            and is_old(reading, stage)
            and not _waits_for_earlier(reading, stage, threshold)
            and not any((held.service, held.topic) == stage for held in reading.held)
        )


def is_old(reading: PipelineReading, stage: StageTopic) -> bool:
    """Whether the oldest record waits longer than it does for a service that keeps up."""
    oldest_s = reading.backlogs[stage].oldest_s
    return oldest_s is not None and oldest_s > MIN_OLDEST_S


def is_expected(reading: PipelineReading, stage: StageTopic) -> bool:
    """Whether the backlog is intended: by a pause, a replay or redrive of this or an earlier service, or a load of
    history."""
    service, _ = stage
    replayed = any(service == each or stage in downstream_of(each) for each in reading.replaying)
    return stage in reading.paused or replayed or reading.loads_history


def _age_s(reading: PipelineReading, sample: Sample) -> float:
    return (reading.at - sample[0]).total_seconds()


def _waits_for_earlier(reading: PipelineReading, stage: StageTopic, threshold: float) -> bool:
    earlier = {each for each in SERVICES if each != stage[0] and stage in downstream_of(each)}
    return any(
        service in earlier and backlog.records >= threshold for (service, _), backlog in reading.backlogs.items()
    )
