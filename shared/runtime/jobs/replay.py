"""Runs a replay as a job (jobs/loop.py): the service's own handler processes records of a topic once more.

The outputs carry the operation's id as their revision. Downstream they cause no notifications, unless the operation
asks for them, and they count as newer than live outputs. The job runs in its own process at low priority, so that the
live loop keeps its CPU.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime

import structlog

from shared.broker.contract import Broker, NewRecord, Record, TopicPartition, Unit
from shared.broker.record_size import SizeLimits
from shared.errors import ConfigError
from shared.ops.operations import Operation
from shared.ops.replays import plan_of, selector_of
from shared.ops.tables.replays import REPLAY
from shared.records import DecodedRecord
from shared.runtime.dead_letters.breaker import BatchFailures, Breaker
from shared.runtime.dead_letters.letter import FailedRecord, dead_letter
from shared.runtime.jobs.cursor import JobCursor
from shared.runtime.jobs.job import Job
from shared.runtime.jobs.job_lease import JobLease
from shared.runtime.jobs.loop import JobLoop
from shared.runtime.jobs.pace import MAX_BACKLOG
from shared.runtime.loops.batch import process_batch
from shared.runtime.loops.handler import Handler
from shared.runtime.process.watchdog import HUNG_S, Watchdog
from shared.settings.sections import ServiceSettings
from shared.topics import RAW, dead_letter_topic, downstream_of

# Environment variables of a job's process: the operation's id, and the worker's name, under which it holds the lease.
JOB = "HEADRACE_JOB"
JOB_WORKER = "HEADRACE_JOB_WORKER"
NICENESS = 10


class ReplayTransform:
    """The transform of a replay. `revision` is set on all outputs, including dead letters."""

    def __init__(self, service: str, revision: str, handler: Handler) -> None:
        self._service = service
        self._revision = revision
        self._handler = handler
        self._limits = SizeLimits()
        self._breaker = Breaker(service)
        self._batch_failures: BatchFailures | None = None

    def __call__(self, records: Sequence[Record], unit: Unit) -> Mapping[str, int]:
        self._batch_failures = self._breaker.begin_batch(records)
        result = process_batch(records, lambda batch: self._attempt(batch, unit), self._batch_failures.record_failure)
        now = datetime.now(UTC)
        # As in the live loop, a failed record of the service's own dead-letter topic stays there.
        own = dead_letter_topic(self._service)
        letters = [self._dead_letter(each, now) for each in result.failures if each.record.topic != own]
        unit.append([*result.outputs, *letters])
        return {"outputs": len(result.outputs), "dead_letters": len(letters)}

    def on_commit(self, _cursor: JobCursor, records: Sequence[Record]) -> None:
        if records and self._batch_failures is not None:
            self._breaker.commit(self._batch_failures)

    def _attempt(self, batch: Sequence[DecodedRecord], unit: Unit) -> Sequence[NewRecord]:
        return self._handler.call(
            [received._replace(revision=self._revision) for received in batch], unit, self._limits
        )

    def _dead_letter(self, failed: FailedRecord, at: datetime) -> NewRecord:
        letter = dead_letter(self._service, failed, at)
        return letter._replace(headers={**letter.headers, "revision": self._revision.encode()})


def replay_job(operation: Operation, handler: Handler, max_records: int) -> Job:
    """The job of a replay's operation."""
    plan = plan_of(operation.target)
    transform = ReplayTransform(operation.service, operation.id, handler)
    return Job(
        id=operation.id,
        spans={TopicPartition(plan.request.topic, p): span for p, span in plan.spans.items()},
        is_selected=selector_of(plan.request),
        transform=transform,
        in_database=handler.in_database,
        # Small, so that live records do not wait long for a unit's locks or behind its outputs.
        unit_records=min(max_records, MAX_BACKLOG),
        rate=plan.request.rate,
        on_commit=transform.on_commit,
        downstream=downstream_of(operation.service),
        live_topic=RAW,
        slow=handler.slow,
    )


def run_replay(
    settings: ServiceSettings,
    conninfo: str,
    connect: Callable[[], Broker],
    job_of: Callable[[Operation], Job],
    environ: Mapping[str, str],
) -> None:
    """Run the replay that this process was started for, until it ends, is released, or another worker has taken it.

    SIGTERM and SIGINT end it after the open unit; the job stays open.
    """
    os.nice(NICENESS)
    try:
        operation_id, worker = environ[JOB], environ[JOB_WORKER]
    except KeyError as missing:
        raise ConfigError(f"{missing} is not set: only a service starts this process, for a job") from None
    with closing(JobLease(conninfo, operation_id, worker)) as lease, closing(connect()) as broker:
        operation = lease.operation()
        if operation is None or operation.kind != REPLAY or operation.service != settings.name:
            structlog.get_logger().warning("job_not_found", operation=operation_id)
            return
        loop = JobLoop(broker, lease, job_of(operation))
        # The signal handler only sets a flag, because it may interrupt any code.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: loop.stop())
        with Watchdog(loop, max(HUNG_S, settings.database.longest_unit_s)):
            loop.run()
