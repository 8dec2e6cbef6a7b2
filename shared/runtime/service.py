"""A service, as the runtime sees it: what it works on, and what it adds of its own. Everything else is done here."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import uuid4

from fastapi import APIRouter

from shared.broker.connect import connect
from shared.broker.contract import Broker
from shared.errors import ConfigError
from shared.ops.tables.dead_letters import REDRIVE
from shared.ops.tables.replays import REPLAY
from shared.ops.tables.steering import KnownPartitions
from shared.runtime.api import replays
from shared.runtime.api.context import Desk, ServiceView
from shared.runtime.control.mailbox import Steering
from shared.runtime.control.thread import Control
from shared.runtime.exit_codes import STOPPED, Background
from shared.runtime.jobs.process import replaying
from shared.runtime.jobs.redrive import redriving
from shared.runtime.jobs.replay import JOB, replay_job, work_on_replay
from shared.runtime.jobs.workers import Jobs, Start
from shared.runtime.lag import LagMeter, meter_of
from shared.runtime.loops.consumer import ConsumerLoop
from shared.runtime.loops.handler import Handler, Pollable
from shared.runtime.loops.outbox import relays
from shared.runtime.loops.poller import PollerLoop
from shared.runtime.metrics import Metrics
from shared.runtime.process.run import run
from shared.runtime.view import LoopView
from shared.settings.sections import ServiceSettings, Settings
from shared.topics import retry_topic


@dataclass(frozen=True)
class Consuming:
    """Reads topics and handles their records."""

    reads: Sequence[str]
    handler: Handler
    max_records: int = 2000


@dataclass(frozen=True)
class Polling:
    """Asks a source for its next step and writes it to a topic, one replica at a time; `cursors` say how far it is."""

    source: Pollable
    writes: str
    cursors: str


@dataclass(frozen=True)
class Service:
    """`background` runs beside the loop, `detail` is told in the status, `routers` make what is added below /v1,
    `jobs` start the workers of jobs of its own, by their kind (jobs/workers.py)."""

    work: Consuming | Polling
    background: Sequence[Background] = ()
    detail: Callable[[], dict[str, Any]] = dict
    routers: Sequence[Callable[[Desk], APIRouter]] = ()
    jobs: Mapping[str, Start] = field(default_factory=dict)
    close: Callable[[], None] = lambda: None


Wire = Callable[[Any, Metrics], Service]
"""Puts a service together from its settings; starts nothing."""

Connect = Callable[[Settings, str], Broker]


def serving(wire: Wire, connect: Connect = connect) -> Callable[[ServiceSettings], int]:
    """What `launch` starts: the service that `wire` puts together, until it is told to stop."""

    def start(settings: ServiceSettings) -> int:
        metrics = Metrics()
        service = wire(settings, metrics)
        try:
            if JOB in os.environ:
                return work_on_job(settings, service, connect)
            return serve(settings, service, metrics, connect)
        finally:
            service.close()

    return start


def work_on_job(settings: ServiceSettings, service: Service, connect: Connect) -> int:
    """The part of a process that a replica started for one of its jobs (jobs/process.py): no loop, no admin app."""
    work, conninfo = service.work, settings.database.conninfo(f"headrace {settings.name} job")
    if isinstance(work, Polling):
        raise ConfigError(f"{settings.name} reads no topic, so there is nothing to replay")
    job_of = partial(replay_job, handler=work.handler, max_records=work.max_records)
    work_on_replay(settings, conninfo, partial(connect, settings, conninfo), job_of, os.environ)
    return STOPPED


def serve(settings: ServiceSettings, service: Service, metrics: Metrics, connect: Connect) -> int:
    conninfo = settings.database.conninfo(f"headrace {settings.name}")
    replica, topics = settings.service.replica, steered(settings.name, service.work)
    steering, incarnation = Steering(), uuid4()
    broker = connect(settings, conninfo)
    loop = _loop(settings, service.work, metrics, broker, steering)
    meter = _meter(settings, conninfo, service.work)
    view = LoopView(loop, connect(settings, conninfo), replica, service.detail, meter)
    desk = desk_of(settings, service, view, broker.table_prefix, connect)
    known = KnownPartitions(settings.name, topics, broker.table_prefix)
    control = Control(settings.database.conninfo(), settings.name, replica, incarnation, steering, known)
    starts, background = dict(service.jobs), list(service.background)
    if isinstance(service.work, Consuming):
        starts[REPLAY] = replaying(settings)
        starts[REDRIVE] = redriving(conninfo, lambda: connect(settings, conninfo), metrics)
        if service.work.handler.in_database and broker.has_outbox:
            background += relays(settings, conninfo, metrics)

    def show(kind: str, progress: float) -> None:
        metrics.operation_progress_ratio.labels(kind).set(progress)

    beside = [control.run, Jobs(settings.name, replica, conninfo, starts, show).run, *background]
    return run(settings, loop, view, metrics, beside, desk=desk, incarnation=incarnation)


def desk_of(
    settings: ServiceSettings, service: Service, view: ServiceView, table_prefix: str = "", connect: Connect = connect
) -> Desk:
    """What the endpoints of a service work with."""
    conninfo = settings.database.conninfo(f"headrace {settings.name}, admin")
    return Desk(
        settings,
        view,
        steers=steered(settings.name, service.work),
        table_prefix=table_prefix,
        routers=[*service.routers, *([replays.router] if isinstance(service.work, Consuming) else [])],
        open_broker=lambda: connect(settings, conninfo),
    )


def _meter(settings: ServiceSettings, conninfo: str, work: Consuming | Polling) -> LagMeter | None:
    if isinstance(work, Polling):
        return None
    return meter_of(settings, conninfo, connect(settings, conninfo), in_database=work.handler.in_database)


def steered(service: str, work: Consuming | Polling) -> tuple[str, ...]:
    """The topics that a service can be paused on: all that it reads; a poller, which reads none, on its output."""
    return (work.writes,) if isinstance(work, Polling) else (*work.reads, retry_topic(service))


def _loop(
    settings: ServiceSettings, work: Consuming | Polling, metrics: Metrics, broker: Broker, steering: Steering
) -> ConsumerLoop | PollerLoop:
    name, slot = settings.name, settings.service.slot
    if isinstance(work, Polling):
        return PollerLoop(
            broker, service=name, slot=slot, cursors=work.cursors, source=work.source, metrics=metrics,
            writes=work.writes, steering=steering,
        )  # fmt: skip
    return ConsumerLoop(
        broker, service=name, slot=slot, reads=steered(name, work), metrics=metrics, handler=work.handler,
        max_records=work.max_records, steering=steering,
    )  # fmt: skip
