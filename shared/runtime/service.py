"""Assembles and runs a service: its loop, admin API, control thread, job workers and background tasks."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from fastapi import APIRouter

from shared.broker.connect import connect
from shared.broker.contract import Broker
from shared.errors import ConfigError
from shared.ops.tables.dead_letters import REDRIVE
from shared.ops.tables.replays import REPLAY
from shared.ops.tables.steering import KnownPartitions
from shared.runtime.api import replays
from shared.runtime.api.context import AdminContext, ServiceView
from shared.runtime.control.attempts import AttemptNotes
from shared.runtime.control.mailbox import ControlMailbox
from shared.runtime.control.thread import ControlThread
from shared.runtime.control_measurements import control_measurements, measure_background
from shared.runtime.exit_codes import STOPPED, Background
from shared.runtime.jobs.process import replay_starter
from shared.runtime.jobs.redrive import redrive_starter
from shared.runtime.jobs.replay import JOB, replay_job, run_replay
from shared.runtime.jobs.workers import JobSupervisor, StartWorker
from shared.runtime.lag import LagMeter, lag_meter_of
from shared.runtime.loops.consumer import ConsumerLoop
from shared.runtime.loops.handler import Handler, Pollable
from shared.runtime.loops.outbox import relay_tasks
from shared.runtime.loops.poller import PollerLoop
from shared.runtime.measurements import Measurement, Measurements
from shared.runtime.metrics import Metrics
from shared.runtime.process.run import run
from shared.runtime.process.slot import SlotKeeper, held_slot
from shared.runtime.process.watchdog import HUNG_S, BackgroundWatch
from shared.runtime.view import LoopView
from shared.settings.sections import ServiceSettings, Settings
from shared.topics import retry_topic


@dataclass(frozen=True)
class ConsumerWork:
    """The work of a service that reads topics and handles their records."""

    reads: Sequence[str]
    handler: Handler
    max_records: int = 2000


@dataclass(frozen=True)
class PollerWork:
    """The work of a service that writes a source's steps to a topic, one replica at a time. `cursors` is the compacted
    topic that holds its progress."""

    source: Pollable
    writes: str
    cursors: str


@dataclass(frozen=True)
class Service:
    """`background`: tasks that run beside the loop. `detail`: content of the status. `routers`: create the routers of
    the service's own endpoints below /v1. `jobs`: start the workers of the service's own jobs, by operation kind
    (jobs/workers.py). `measurements`: set the gauges of the state that the service owns (measurements.py). `problem`:
    why the service does not do all of its work; empty if it does."""

    work: ConsumerWork | PollerWork
    background: Sequence[Background] = ()
    detail: Callable[[], dict[str, Any]] = dict
    routers: Sequence[Callable[[AdminContext], APIRouter]] = ()
    jobs: Mapping[str, StartWorker] = field(default_factory=dict)
    measurements: Sequence[Measurement] = ()
    problem: Callable[[], str] = str
    close: Callable[[], None] = lambda: None


ServiceFactory = Callable[[Any, Metrics], Service]
"""Creates a service from its settings. Starts nothing."""

Connect = Callable[[Settings, str], Broker]


def service_starter(create_service: ServiceFactory, connect: Connect = connect) -> Callable[[ServiceSettings], int]:
    """The function that runs a process of the service, created by `create_service`, until it is stopped."""

    def start(settings: ServiceSettings) -> int:
        metrics = Metrics()
        if JOB in os.environ:
            with closing(create_service(settings, metrics)) as service:
                return run_job(settings, service, connect)
        with held_slot(settings, metrics) as held:
            if held is None:
                return STOPPED
            settings, keeper = held
            with closing(create_service(settings, metrics)) as service:
                return serve(settings, service, metrics, connect, keeper)

    return start


def run_job(settings: ServiceSettings, service: Service, connect: Connect) -> int:
    """Run one job, in a process that a replica started for it (jobs/process.py): without loop and admin app."""
    work, conninfo = service.work, settings.database.conninfo(f"headrace {settings.name} job")
    if isinstance(work, PollerWork):
        raise ConfigError(f"{settings.name} reads no topic, so it cannot run a replay job")
    job_of = partial(replay_job, handler=work.handler, max_records=work.max_records)
    run_replay(settings, conninfo, partial(connect, settings, conninfo), job_of, os.environ)
    return STOPPED


def serve(settings: ServiceSettings, service: Service, metrics: Metrics, connect: Connect, keeper: SlotKeeper) -> int:
    conninfo = settings.database.conninfo(f"headrace {settings.name}")
    replica, topics = settings.service.replica, controllable_topics(settings.name, service.work)
    mailbox, incarnation = ControlMailbox(), keeper.incarnation
    broker = connect(settings, conninfo)
    notes = AttemptNotes(settings.database.conninfo(), settings.name, incarnation)
    loop = _create_loop(settings, service.work, metrics, broker, mailbox, notes)
    lag_meter = _create_lag_meter(settings, conninfo, service.work)
    background_watch = BackgroundWatch()
    hung_s = max(HUNG_S, settings.database.longest_unit_s)
    view = LoopView(
        loop, connect(settings, conninfo), replica, service.detail, lag_meter,
        lambda: background_watch.problem() or service.problem(), hung_s,
    )  # fmt: skip
    admin_context = admin_context_of(settings, service, view, broker.table_prefix, connect)
    partitions = KnownPartitions(settings.name, topics, broker.table_prefix)
    control = ControlThread(settings.database.conninfo(), settings.name, replica, incarnation, mailbox, partitions)
    job_starters, background = dict(service.jobs), list(service.background)
    if isinstance(service.work, ConsumerWork):
        job_starters[REPLAY] = replay_starter(settings)
        job_starters[REDRIVE] = redrive_starter(conninfo, lambda: connect(settings, conninfo), metrics)
        if service.work.handler.in_database and broker.has_outbox:
            background += relay_tasks(settings, conninfo, metrics)

    def report_progress(kind: str, progress: float) -> None:
        metrics.operation_progress_ratio.labels(kind).set(progress)

    measurements = [
        *service.measurements,
        measure_background(background_watch.still, metrics),
        *control_measurements(settings, metrics, topics, None if lag_meter is None else lag_meter.count_removed),
    ]
    background_tasks: list[Background] = [
        keeper.run,
        control.run,
        JobSupervisor(settings.name, replica, conninfo, job_starters, report_progress).run,
        Measurements(settings.database.conninfo(), settings.name, metrics, measurements),
        *background,
    ]
    return run(
        settings, loop, view, metrics, background_tasks, admin_context=admin_context, incarnation=incarnation,
        hung_s=hung_s, background_watch=background_watch,
    )  # fmt: skip


def admin_context_of(
    settings: ServiceSettings, service: Service, view: ServiceView, table_prefix: str = "", connect: Connect = connect
) -> AdminContext:
    """The dependencies of a service's endpoints."""
    conninfo = settings.database.conninfo(f"headrace {settings.name}, admin")
    return AdminContext(
        settings,
        view,
        pausable_topics=controllable_topics(settings.name, service.work),
        table_prefix=table_prefix,
        routers=[*service.routers, *([replays.router] if isinstance(service.work, ConsumerWork) else [])],
        open_broker=lambda: connect(settings, conninfo),
    )


def _create_lag_meter(settings: ServiceSettings, conninfo: str, work: ConsumerWork | PollerWork) -> LagMeter | None:
    if isinstance(work, PollerWork):
        return None
    return lag_meter_of(settings, conninfo, connect(settings, conninfo), in_database=work.handler.in_database)


def controllable_topics(service: str, work: ConsumerWork | PollerWork) -> tuple[str, ...]:
    """The topics that can be paused for a service: those that it reads, or the output topic of a poller."""
    return (work.writes,) if isinstance(work, PollerWork) else (*work.reads, retry_topic(service))


def _create_loop(
    settings: ServiceSettings,
    work: ConsumerWork | PollerWork,
    metrics: Metrics,
    broker: Broker,
    mailbox: ControlMailbox,
    notes: AttemptNotes,
) -> ConsumerLoop | PollerLoop:
    name, slot = settings.name, settings.service.slot
    if isinstance(work, ConsumerWork):
        for topic in controllable_topics(name, work):  # from 0, so that a rate includes the first failures
            for outcome in ("handled", "failed"):
                metrics.records_total.labels(name, topic, outcome)
    if isinstance(work, PollerWork):
        return PollerLoop(
            broker, service=name, slot=slot, cursors=work.cursors, source=work.source, metrics=metrics,
            writes=work.writes, mailbox=mailbox,
        )  # fmt: skip
    return ConsumerLoop(
        broker, service=name, slot=slot, reads=controllable_topics(name, work), metrics=metrics, handler=work.handler,
        max_records=work.max_records, mailbox=mailbox, notes=notes, max_deaths=settings.service.max_deaths,
    )  # fmt: skip
