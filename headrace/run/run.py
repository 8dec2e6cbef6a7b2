"""`headrace run`: the services over one source, until the end of its window or until told to stop."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace
from typing import Any

import orjson
import psycopg

from headrace.database.data_dir import DataDir
from headrace.processes.interrupts import Interrupted
from headrace.progress.observer import dead_letter_causes, event_statuses
from headrace.progress.positions import Reading, waiting_for
from headrace.progress.record_counts import tally
from headrace.progress.summary import lines_of, summary_of
from headrace.run.as_of import require_horizon
from headrace.run.options import SIMULATOR, RunOptions
from headrace.run.run_environment import Site
from headrace.run.session import RunFailed, Session
from headrace.run.simulation import SEASON_START, Simulation, free_port, season_end, simulator_program
from shared.errors import TransientError


def is_demonstration(options: RunOptions) -> bool:
    """The simulator, asked for nothing in particular."""
    plain = options.base_url or options.from_date or options.to_date or options.once or options.clock
    return options.source == SIMULATOR and not plain


def run(site: Site, options: RunOptions) -> tuple[dict[str, Any], list[str]]:
    """The summary, as an object and as lines. Without `once` it ends by Interrupted only."""
    with site.access.connect("headrace run") as connection:
        require_horizon(connection, options.as_of)
    with site.session() as session:
        session.title, session.once = _title(options), options.once
        if options.source == SIMULATOR and options.base_url is None:
            options = start_simulator(site, session, options)
        follow = not options.once and (options.source != "archive" or options.clock is not None)
        session.start(site.services(options, follow))
        try:
            if not options.once:
                session.wait_for_readings(lambda _: False, give_up=False)
            session.wait_for_readings(lambda reading: waiting_for(reading) is None)
        except (Interrupted, RunFailed):
            with suppress(psycopg.Error, TransientError):  # then status has to do without
                keep(site.data_dir, session.last_reading(), dead_letter_causes(session.observer().connection))
            raise
        return conclude(site, session, [])


def start_simulator(site: Site, session: Session, options: RunOptions) -> RunOptions:
    """The options with the address of a simulator of our own, and the days of its season where none are given."""
    first = min(options.from_date or SEASON_START, SEASON_START)
    simulation = Simulation(free_port(), first)
    session.start([simulator_program(simulation, site.data_dir, options.clock)])
    session.wait(simulation.listens)
    ends = options.to_date or (max(season_end(), first) if options.once else None)
    return replace(options, base_url=simulation.url, from_date=options.from_date or SEASON_START, to_date=ends)


def conclude(site: Site, session: Session, scores: list[str]) -> tuple[dict[str, Any], list[str]]:
    """The summary of a session whose work is done; what it found wrong is kept for `headrace status`."""
    observer = session.observer()
    reading = session.last_reading()
    seconds = time.monotonic() - site.began_s
    summary = summary_of(
        tally(observer.record_count, session.meter.start, reading.positions),
        reading,
        session.meter,
        observer.view_rows(),
        observer.predicted(),
        observer.told(),
        seconds,
    )
    causes = dead_letter_causes(observer.connection)
    keep(site.data_dir, reading, causes)
    statuses = event_statuses(observer.connection)
    return summary, lines_of(summary, statuses, causes, scores, site.data_dir.path)


def keep(data_dir: DataDir, reading: Reading, causes: list[dict[str, Any]]) -> None:
    failed = [dict(each) for each in (reading.fetcher.failed if reading.fetcher else ())]
    partial = data_dir.last_run.with_suffix(".partial")
    partial.write_bytes(orjson.dumps({"failed_windows": failed, "dead_letters": causes}))
    partial.replace(data_dir.last_run)


def _title(options: RunOptions) -> str:
    days = " to ".join(str(each) for each in (options.from_date, options.to_date) if each)
    known = f" as known at {options.as_of.isoformat()}" if options.as_of else ""
    return f"{options.source} {days}".strip() + known
