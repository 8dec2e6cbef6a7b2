"""`headrace run` without options: load a season, train a model on it, and run the next day live under a fast clock.

Each further run on the same data directory continues with the day after. A day is never started twice: its clock would
go back, and the source would serve documents that are older than what is stored. The rest of a day that was interrupted
is loaded with the season.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import orjson

from headrace.database.data_dir import DataDir
from headrace.processes.supervisor import Program
from headrace.progress.frame import Phase
from headrace.progress.positions import Reading, waiting_for
from headrace.progress.summary import summary_lines
from headrace.run.options import RunOptions, VirtualTime
from headrace.run.outcome import SOURCE, biggest_surprise, last_messages, scores_of
from headrace.run.programs import common_environment, python
from headrace.run.run import conclude
from headrace.run.run_environment import RunEnvironment
from headrace.run.session import Session
from headrace.run.simulation import SEASON_START, Simulation, free_port, season_end, simulator_program
from headrace.run.suggestions import after_a_demonstration, command_name
from services.predictor.registry import state_file
from services.predictor.settings import PredictorSettings
from shared.clock import VirtualClock

JST = timezone(timedelta(hours=9), "JST")
# Half an hour before the first deadline; every card is published by then.
DAY_BEGINS_H = 10
# The last results are published soon after 17:00; events that are not settled by then stay open.
DAY_ENDS_H = 18
# A race's observation is published 4 to 14 minutes before its deadline: 0.8 to 2.8 s at this speed, in which it has to
# pass through five processes to be predicted in time. The seven hours take 84 s.
SPEED = 300.0
# The time that the services need to start; until then the clock of the day stands still.
HEAD_START_S = 6.0
LOAD, TRAIN, LIVE, SCORE = STEPS = ("load history", "train", "live day", "score")


@dataclass(frozen=True)
class DemonstrationDay:
    """The day of the season to run live. The file in the data directory names the last day that was started."""

    file: Path
    day: date

    def begin(self) -> None:
        partial = self.file.with_suffix(".partial")
        partial.write_bytes(orjson.dumps({"begun": self.day}))
        partial.replace(self.file)


def next_day(data_dir: DataDir) -> DemonstrationDay:
    file = data_dir.path / "demonstration.json"
    try:
        started = date.fromisoformat(orjson.loads(file.read_bytes())["begun"])
    except (OSError, ValueError, KeyError, TypeError):
        started = season_end()
    return DemonstrationDay(file, started + timedelta(days=1))


def demonstrate(environment: RunEnvironment, options: RunOptions) -> tuple[dict[str, Any], list[str]]:
    """The summary, as an object and as lines. Its `scores` are, per state of knowledge, the log-loss of the model, of
    the truth and of the base rate."""
    next_up = next_day(environment.data_dir)
    day = next_up.day
    simulation = Simulation(free_port())
    options = replace(options, source=SOURCE, base_url=simulation.url)
    with environment.session() as session:
        session.monitor.title, session.monitor.steps = "demonstration on a simulated season of boat races", STEPS
        load_season(environment, session, simulation, options, day)
        train(environment, session)
        next_up.begin()
        run_day(environment, session, simulation, options, day)
        session.monitor.begin(_scoring(session.monitor.phase))
        session.monitor.show({})
        scores = scores_of(session.observer().connection, simulation, day)
        summary, report = conclude(environment, session)
        report = replace(
            report,
            scores=scores,
            messages=last_messages(session.observer().connection, day),
            suggestions=after_a_demonstration(
                command_name(), environment.data_dir.path, day, biggest_surprise(session.observer().connection, day)
            ),
        )
        return {**summary, "scores": scores}, summary_lines(summary, report)


def load_season(
    environment: RunEnvironment, session: Session, simulation: Simulation, options: RunOptions, day: date
) -> None:
    """Load all days before `day` as history. The clock starts in the early morning of that day, at normal speed."""
    last = day - timedelta(days=1)
    clock = VirtualTime(datetime(day.year, day.month, day.day, 5, tzinfo=JST), 1.0, time.time())
    text = f"loading {(day - SEASON_START).days} days of history, {SEASON_START} to {last}"
    session.monitor.begin(Phase(LOAD, text, "load", clock_of(clock), zone=JST))
    source = session.start([simulator_program(simulation, environment.data_dir, clock)])
    session.wait(simulation.listens)
    past = replace(options, from_date=SEASON_START, to_date=last, clock=clock)
    began_s = time.monotonic()
    services = session.start(environment.services(past, follow=False))
    session.wait_for_readings(lambda reading: waiting_for(reading) is None)
    session.say(f"history is loaded, {time.monotonic() - began_s:.1f} s after the services were started")
    session.stop(services)
    session.stop(source)


def train(environment: RunEnvironment, session: Session) -> None:
    """Train a model, unless an earlier run has left one."""
    predictor = environment.settings(PredictorSettings)
    if state_file.has_live(predictor.models_dir):
        session.say(f"using the model in {predictor.models_dir} (headrace train makes a new one)")
        return
    text = "training a model on the loaded season (half a minute on two idle cores)"
    session.monitor.begin(Phase(TRAIN, text, zone=JST))
    owner = environment.access.owner()
    variables = common_environment(environment.data_dir, environment.config) | {
        "HEADRACE_DATABASE__URL": owner.url,
        "HEADRACE_DATABASE__PASSWORD_FILE": str(owner.password_file or ""),
    }
    log = environment.data_dir.log("train")
    session.run_task(Program("train", python("-m", "headrace", "train"), log, variables, restart=False))
    session.say(log.read_text().strip().splitlines()[-1])


def run_day(
    environment: RunEnvironment, session: Session, simulation: Simulation, options: RunOptions, day: date
) -> None:
    """Run the day under a fast clock until its events are settled and every stage has handled them."""
    begins = datetime(day.year, day.month, day.day, DAY_BEGINS_H, tzinfo=JST)
    clock = VirtualTime(begins, SPEED, time.time() + HEAD_START_S)
    ends = begins + timedelta(hours=DAY_ENDS_H - DAY_BEGINS_H)
    now = clock_of(clock).now
    text = f"live day {day}, {SPEED:.0f} times as fast as real time"
    session.monitor.begin(Phase(LIVE, text, "clock", clock_of(clock), begins, ends, JST, SPEED))
    session.start([simulator_program(simulation, environment.data_dir, clock)])
    session.wait(simulation.listens)
    live = replace(options, from_date=day, to_date=day, clock=clock)
    services = session.start(environment.services(live, follow=True))

    def is_over(reading: Reading) -> bool:
        return (now() >= ends or _all_settled(session, day)) and waiting_for(reading, follows=True) is None

    session.wait_for_readings(is_over)
    session.stop(services)


def _scoring(live: Phase) -> Phase:
    """The phase after the live day, on the same clock: its predictions stay in view."""
    return replace(live, name=SCORE, text="the day is over; comparing predictions and results", measure="none")


def clock_of(time_: VirtualTime) -> VirtualClock:
    return VirtualClock(time_.start, time_.speed, time_.epoch_s)


def _all_settled(session: Session, day: date) -> bool:
    connection = session.observer().connection
    row = connection.execute(
        "SELECT count(*) > 0 AND bool_and(e.status IN ('settled', 'void', 'cancelled'))"
        " FROM facts.events e JOIN facts.sessions s ON s.id = e.session_id WHERE s.date = %s",
        (day,),
    ).fetchone()
    return row is not None and row[0] is True
