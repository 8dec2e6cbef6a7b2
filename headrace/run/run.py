"""`headrace run`: the services over one source, until its window is loaded or until the run is stopped."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, tzinfo
from typing import Any

import orjson
import psycopg

from headrace.database.data_dir import DataDir
from headrace.processes.interrupts import Interrupted
from headrace.progress.frame import Phase
from headrace.progress.observer import dead_letter_causes, event_statuses
from headrace.progress.positions import Reading, waiting_for
from headrace.progress.record_counts import count_records
from headrace.progress.summary import Report, summary_lines, summary_of
from headrace.run.as_of import require_as_of
from headrace.run.options import SIMULATOR, RunOptions
from headrace.run.run_environment import RunEnvironment
from headrace.run.session import RunFailed, Session
from headrace.run.simulation import SEASON_START, Simulation, free_port, season_end, simulator_program
from headrace.run.suggestions import after_a_run, command_name
from services.fetcher.sources.yaml_file import load_source
from services.loader.settings import LoaderSettings
from shared.clock import SystemClock, VirtualClock
from shared.errors import HeadraceError, TransientError


def is_demonstration(options: RunOptions) -> bool:
    """The simulator without any option that asks for something in particular."""
    given = options.base_url or options.from_date or options.to_date or options.once or options.clock
    return options.source == SIMULATOR and not given


def run(environment: RunEnvironment, options: RunOptions) -> tuple[dict[str, Any], list[str]]:
    """The summary, as an object and as lines. Without `once` it ends by Interrupted only."""
    with environment.access.connect("headrace run") as connection:
        require_as_of(connection, options.as_of)
    with environment.session() as session:
        session.once = options.once
        session.monitor.title = _title(options)
        session.monitor.begin(_phase(options))
        if options.source == SIMULATOR and options.base_url is None:
            options = start_simulator(environment, session, options)
        follow = not options.once and (options.source != "archive" or options.clock is not None)
        session.start(environment.services(options, follow))
        try:
            if not options.once:
                session.wait_for_readings(lambda _: False, give_up=False)
            session.wait_for_readings(lambda reading: waiting_for(reading) is None)
        except (Interrupted, RunFailed):
            with suppress(psycopg.Error, TransientError):  # then `headrace status` has nothing of this run
                causes = dead_letter_causes(session.observer().connection)
                keep(environment.data_dir, session.monitor.last_reading(), causes)
            raise
        summary, report = conclude(environment, session)
        suggestions = after_a_run(command_name(), environment.data_dir.path)
        return summary, summary_lines(summary, replace(report, suggestions=suggestions))


def start_simulator(environment: RunEnvironment, session: Session, options: RunOptions) -> RunOptions:
    """Start a simulator. Returns the options with its address, and with the days of its season if none are given."""
    first = min(options.from_date or SEASON_START, SEASON_START)
    simulation = Simulation(free_port(), first)
    session.start([simulator_program(simulation, environment.data_dir, options.clock)])
    session.wait(simulation.listens)
    ends = options.to_date or (max(season_end(), first) if options.once else None)
    return replace(options, base_url=simulation.url, from_date=options.from_date or SEASON_START, to_date=ends)


def conclude(environment: RunEnvironment, session: Session) -> tuple[dict[str, Any], Report]:
    """The summary of a session that has finished. Failures are kept for `headrace status`."""
    observer = session.observer()
    reading, throughput = session.monitor.last_reading(), session.monitor.throughput
    seconds = time.monotonic() - environment.began_s
    summary = summary_of(
        count_records(observer.record_count, throughput.start, reading.positions),
        reading,
        throughput,
        observer.view_rows(),
        observer.predictions(),
        observer.messages_sent(),
        seconds,
    )
    causes = dead_letter_causes(observer.connection)
    keep(environment.data_dir, reading, causes)
    statuses = event_statuses(observer.connection)
    return summary, Report(environment.data_dir.path, statuses, causes, exports=exports_of(environment))


def exports_of(environment: RunEnvironment) -> str | None:
    """Place and formats of the daily files, e.g. /data/exports (csv); None if the loader writes none."""
    settings = environment.settings(LoaderSettings)
    place = settings.loader.exports_url or settings.export_dir
    return f"{place} ({', '.join(settings.loader.export_formats)})" if settings.loader.exports else None


def keep(data_dir: DataDir, reading: Reading, causes: list[dict[str, Any]]) -> None:
    """Write what failed into the data directory."""
    failed = [dict(each) for each in (reading.fetcher.failed if reading.fetcher else ())]
    partial = data_dir.last_run.with_suffix(".partial")
    partial.write_bytes(orjson.dumps({"failed_windows": failed, "dead_letters": causes}))
    partial.replace(data_dir.last_run)


def _title(options: RunOptions) -> str:
    days = " to ".join(str(each) for each in (options.from_date, options.to_date) if each)
    known = f" as known at {options.as_of.isoformat()}" if options.as_of else ""
    return f"{options.source} {days}".strip() + known


def _phase(options: RunOptions) -> Phase:
    clock = (
        SystemClock()
        if options.clock is None
        else VirtualClock(options.clock.start, options.clock.speed, options.clock.epoch_s)
    )
    speed = options.clock.speed if options.clock else 1.0
    if options.once:
        return Phase("load", f"loading {_title(options)}", "load", clock, zone=_zone(options), speed=speed)
    return Phase("follow", f"following {_title(options)}", "none", clock, zone=_zone(options), speed=speed)


def _zone(options: RunOptions) -> tzinfo:
    """Of the source; UTC where it cannot be read: the fetcher will say why."""
    name = "boatrace" if options.source == "archive" else str(options.source)
    try:
        return load_source(name).zone
    except (HeadraceError, OSError):
        return UTC
