"""What is read of the pipeline at one time, for the alerts.

A value that no replica reports at present is None or missing, never 0: an alert neither opens nor ends because of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

# Up to so many due windows may be those of the current day, which a followed source has now and then.
MAX_LIVE_WINDOWS = 12

StageTopic = tuple[str, str]
"""A service and one of its topics."""


@dataclass(frozen=True)
class ReplicaReading:
    """A row of ops.replicas. `is_live`: its heartbeat is recent and it has not stopped. `reason`: why it is not ready,
    or why it stopped."""

    service: str
    replica: str
    state: str
    is_live: bool
    is_ready: bool
    reason: str
    heartbeat_at: datetime


@dataclass(frozen=True)
class TrippedPartition:
    """A partition that its replica holds back because too many of its records failed."""

    service: str
    topic: str
    partition: int
    cause: str


@dataclass(frozen=True)
class TopicBacklog:
    """Records of a topic that wait for a service, and the age of the oldest in seconds; None if it is not known."""

    records: int
    oldest_s: float | None


@dataclass(frozen=True)
class WindowReading:
    """Counts of the fetcher's windows. `examples` are lines about failed windows."""

    due: int
    failed: int
    suspect: int
    examples: tuple[str, ...] = ()


@dataclass(frozen=True)
class ChangeReading:
    """A final document that said something else when it was fetched again, at `at` of the fetcher's clock. `events`
    differ; `lines` describe the first of them."""

    window: str
    at: datetime
    events: int
    lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class AcknowledgedChanges:
    """Changes until `until` of these windows, which a person acknowledged. `is_open`: the incident is not resolved."""

    rule: str
    subject: str
    windows: frozenset[str]
    until: datetime
    is_open: bool


@dataclass(frozen=True)
class ModelReading:
    """Recent scores of the live model in one state of knowledge, in nats. `behind_by`: the lower end of the 95 %
    interval of its log-loss minus the base rate's; None with too few events."""

    model: str
    state: str
    events: int
    log_loss: float
    base_log_loss: float
    behind_by: float | None


@dataclass(frozen=True)
class AuditReading:
    """The last recorded audit. `findings`: faults by kind."""

    at: datetime
    findings: Mapping[str, int]


@dataclass(frozen=True)
class QualityReading:
    """The last recorded quality report. `broken`: how many values break each threshold; `findings`: the worst of them.

    `days`: first and last day, as `2026-01-01 to 2026-01-31`.
    """

    at: datetime
    days: str
    broken: Mapping[str, int]
    findings: Sequence[str]


@dataclass(frozen=True)
class DeadLetterReading:
    """Open dead letters of a service: all of them, and those of the last hour, with the most frequent cause."""

    open: int
    new: int
    cause: str


@dataclass(frozen=True)
class BotToken:
    """Whether Discord accepts the bot's token, and if not, its answer."""

    is_accepted: bool
    reason: str
    changed_at: datetime


@dataclass(frozen=True)
class PipelineReading:
    """`at` is the database's clock. `paused`: topics that an order pauses. `replaying`: services with an open replay or
    redrive. `is_backfilling`: the fetcher has an open backfill. `windows`, `changes`, `models`: None while no replica
    reports them. `audit`, `quality`: None if there never was one."""

    at: datetime
    replicas: tuple[ReplicaReading, ...] = ()
    paused: frozenset[StageTopic] = frozenset()
    held: tuple[TrippedPartition, ...] = ()
    backlogs: Mapping[StageTopic, TopicBacklog] = field(default_factory=dict)
    replaying: frozenset[str] = frozenset()
    is_backfilling: bool = False
    windows: WindowReading | None = None
    changes: tuple[ChangeReading, ...] | None = None
    acknowledged: tuple[AcknowledgedChanges, ...] = ()
    dead_letters: Mapping[str, DeadLetterReading] = field(default_factory=dict)
    models: tuple[ModelReading, ...] | None = None
    audit: AuditReading | None = None
    quality: QualityReading | None = None
    bot_token: BotToken | None = None

    @property
    def loads_history(self) -> bool:
        """Whether a growing backlog is expected, because the fetcher is faster than the services after it."""
        return self.is_backfilling or (self.windows is not None and self.windows.due > MAX_LIVE_WINDOWS)

    def live(self, service: str) -> tuple[ReplicaReading, ...]:
        return tuple(each for each in self.replicas if each.service == service and each.is_live)
