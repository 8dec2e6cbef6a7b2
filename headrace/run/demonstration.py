"""`headrace run` with nothing asked for: a season is read, a model learns from it, and the next day is lived through.

The simulated day runs a few hundred times as fast as a real one. Each further run on the same directory lives through
the day after. A day that was begun is never begun again, because a clock that goes back would show the services
documents that are older than what they know; its rest is read with the season.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import httpx
import orjson

from headrace.database.access import one_line
from headrace.database.data_dir import DataDir
from headrace.processes.supervisor import Program
from headrace.progress.positions import Reading, waiting_for
from headrace.run.options import RunOptions, VirtualTime
from headrace.run.programs import common_environment, python
from headrace.run.run import conclude
from headrace.run.run_environment import Site
from headrace.run.session import Session
from headrace.run.simulation import SEASON_START, Simulation, free_port, season_end, simulator_program
from services.predictor.registry import state_file
from services.predictor.settings import PredictorSettings
from shared.clock import VirtualClock
from shared.events import event_key_of

JST = timezone(timedelta(hours=9), "JST")
# Half an hour before the first deadline; every card is public by then.
DAY_BEGINS_H = 10
# The last results are out soon after 17:00; what is not settled by then stays so.
DAY_ENDS_H = 18
# A race's observation is public for 4 to 14 minutes before its deadline: 0.8 to 2.8 s at this speed, in which it has to
# go through five processes to be predicted in time. The seven hours take 84 s.
SPEED = 300.0
# The services' start; until then the day's clock stands still.
HEAD_START_S = 6.0
SOURCE = "simulator"
# Its first answer learns the whole season; some seconds.
LEARNER_TIMEOUT_S = 120


@dataclass(frozen=True)
class Season:
    """Which day of the season is to be lived through, kept in the data directory."""

    file: Path
    day: date

    def begin(self) -> None:
        partial = self.file.with_suffix(".partial")
        partial.write_bytes(orjson.dumps({"begun": self.day}))
        partial.replace(self.file)


def next_day(data_dir: DataDir) -> Season:
    file = data_dir.path / "demonstration.json"
    try:
        begun = date.fromisoformat(orjson.loads(file.read_bytes())["begun"])
    except (OSError, ValueError, KeyError, TypeError):
        begun = season_end()
    return Season(file, begun + timedelta(days=1))


def demonstrate(site: Site, options: RunOptions) -> tuple[dict[str, Any], list[str]]:
    """The summary, with `scores`: per state of knowledge the log-loss of the model, of the truth, of the base rate."""
    season = next_day(site.data_dir)
    simulation = Simulation(free_port())
    options = replace(options, source=SOURCE, base_url=simulation.url)
    with site.session() as session:
        read_season(site, session, simulation, options, season.day)
        learn(site, session)
        season.begin()
        live_through(site, session, simulation, options, season.day)
        session.say("the day is over; judging the predictions")
        scores = judged(session, simulation, season.day)
        summary, lines = conclude(site, session, lines_of_scores(scores))
        told = _told(session, season.day)
        return {**summary, "scores": scores}, [*lines, "", f"Told of {season.day}:", *(f"  {text}" for text in told)]


def read_season(site: Site, session: Session, simulation: Simulation, options: RunOptions, day: date) -> None:
    """All days before `day`, as history. The clock stands in the early morning of that day."""
    last = day - timedelta(days=1)
    clock = VirtualTime(datetime(day.year, day.month, day.day, 5, tzinfo=JST), 1.0, time.time())
    session.title = f"reading {(day - SEASON_START).days} days of history, {SEASON_START} to {last}"
    source = session.start([simulator_program(simulation, site.data_dir, clock)])
    session.wait(simulation.listens)
    past = replace(options, from_date=SEASON_START, to_date=last, clock=clock)
    began_s = time.monotonic()
    fleet = session.start(site.services(past, follow=False))
    session.wait_for_readings(lambda reading: waiting_for(reading) is None)
    session.say(f"history is loaded, {time.monotonic() - began_s:.1f} s after the services were started")
    session.stop(fleet)
    session.stop(source)


def learn(site: Site, session: Session) -> None:
    """Train a model, unless there is one from an earlier run."""
    predictor = site.settings(PredictorSettings)
    if state_file.has_live(predictor.models_dir):
        session.say(f"using the model in {predictor.models_dir} (headrace train makes a new one)")
        return
    session.title = "training"
    session.say("training a model on it")
    environment = common_environment(site.data_dir, site.config) | {
        "HEADRACE_DATABASE__URL": predictor.database.url,
        "HEADRACE_DATABASE__PASSWORD_FILE": str(predictor.database.password_file or ""),
    }
    log = site.data_dir.log("train")
    session.run_task(Program("train", python("-m", "headrace", "train"), log, environment, restart=False))
    session.say(log.read_text().strip().splitlines()[-1])


def live_through(site: Site, session: Session, simulation: Simulation, options: RunOptions, day: date) -> None:
    """The day as it happens, under a fast clock, until its events are settled and everybody is through with them."""
    begins = datetime(day.year, day.month, day.day, DAY_BEGINS_H, tzinfo=JST)
    clock = VirtualTime(begins, SPEED, time.time() + HEAD_START_S)
    now = VirtualClock(clock.start, clock.speed, clock.epoch_s).now
    ends = begins + timedelta(hours=DAY_ENDS_H - DAY_BEGINS_H)
    session.start([simulator_program(simulation, site.data_dir, clock)])
    session.wait(simulation.listens)
    live = replace(options, from_date=day, to_date=day, clock=clock)
    fleet = session.start(site.services(live, follow=True))

    def is_over(reading: Reading) -> bool:
        session.title = f"{day} live, {SPEED:.0f} times as fast: {now().astimezone(JST):%H:%M} JST"
        return (now() >= ends or _all_settled(session, day)) and waiting_for(reading, follows=True) is None

    session.wait_for_readings(is_over)
    session.stop(fleet)


def judged(session: Session, simulation: Simulation, day: date) -> dict[str, Any]:
    """Predictions against what a perfect learner would have told, who knows how the season is drawn but has to learn
    who is good from what is public, like the model."""
    from services.predictor.backtest.live_scores import evaluate  # noqa: PLC0415 - takes a second, only needed here

    path = f"/truth/v1/learner/{day:%Y}/{day:%Y%m%d}.json"
    answer = httpx.get(simulation.url + path, timeout=LEARNER_TIMEOUT_S, trust_env=False).raise_for_status()
    rows = answer.json()["learner"]
    connection = session.observer().connection
    return {
        state: found[state]
        for state, known in (("card", "p_win_card"), ("observation", "p_win_observed"))
        if state in (found := evaluate(connection, truth_of(rows, day, known)))
    }


def truth_of(rows: Sequence[Mapping[str, Any]], day: date, known: str) -> dict[str, Sequence[float]]:
    """Without the events of which it is not known: a learner cannot tell from what was never observed."""
    return {
        event_key_of(SOURCE, day, row["race_stadium_number"], row["race_number"]): row[known]
        for row in rows
        if row[known] is not None
    }


def lines_of_scores(scores: Mapping[str, Mapping[str, float]]) -> list[str]:
    return [
        f"from the {state}: {score['n']} events, log-loss {score['log_loss']:.3f}"
        f" (a perfect learner {score['truth_log_loss']:.3f}, base rate {score['base_log_loss']:.3f})"
        for state, score in scores.items()
    ]


def _all_settled(session: Session, day: date) -> bool:
    connection = session.observer().connection
    row = connection.execute(
        "SELECT count(*) > 0 AND bool_and(e.status IN ('settled', 'void', 'cancelled'))"
        " FROM facts.events e JOIN facts.sessions s ON s.id = e.session_id WHERE s.date = %s",
        (day,),
    ).fetchone()
    return row is not None and row[0] is True


def _told(session: Session, day: date, most: int = 6) -> list[str]:
    connection = session.observer().connection
    rows = connection.execute(
        "SELECT text FROM notifier.ledger WHERE state = 'sent' AND event_key LIKE %s ORDER BY id DESC LIMIT %s",
        (f"{SOURCE}:{day}%", most),
    ).fetchall()
    return [one_line(text) for (text,) in reversed(rows)]
