"""Makes the pictures of the documents, from a demonstration that really runs: `python -m` this, or `make pictures`.

live-view.svg is a frame of the live day. For calibration.png, the month after it is loaded and predicted by a replay,
as of before each event: one day has too few events to compare probabilities with frequencies. discord-bot.png is in
bot_picture.py.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
from rich.console import Console

from headrace.processes.supervisor import Program
from headrace.progress.frame import Frame, Phase
from headrace.progress.picture import svg_of
from headrace.progress.positions import waiting_for
from headrace.progress.view import LineView
from headrace.run.demonstration import JST, LIVE, STEPS, DemonstrationDay, demonstrate, next_day
from headrace.run.options import RunOptions, VirtualTime
from headrace.run.outcome import SOURCE
from headrace.run.programs import common_environment, python
from headrace.run.run_environment import RunEnvironment, prepared_environment
from headrace.run.simulation import Simulation, free_port, simulator_program
from services.predictor.evaluation.charts import draw_reliability
from services.predictor.storage.postgres_facts import read_predictions
from shared.settings.sections import Settings
from shared.topics import LOADED
from tests.documents.bot_picture import draw_bot

PICTURES = Path(__file__).parents[2] / "docs" / "pictures"
WIDTH, HEIGHT = 150, 42
# A frame is taken in this part of the live day: there are results already, and events to come.
FROM_FRACTION, TO_FRACTION = 0.45, 0.75
DAYS_AFTER = 30
SLOTS = 6


class CapturingView(LineView):
    """Prints lines, and keeps the frame of the live day that shows most."""

    details_every_s = 1.0

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self.best: Frame | None = None

    def show(self, frame: Frame) -> None:
        super().show(frame)
        if self.best is None or interest(frame) > interest(self.best):
            self.best = frame


def interest(frame: Frame) -> tuple[bool, ...]:
    """What a frame has to show, the most important first; compares as tuples do."""
    details, fraction = frame.details, frame.fraction() or 0.0
    newest = details.started[:9]
    return (
        frame.phase.name == LIVE,
        FROM_FRACTION <= fraction <= TO_FRACTION and not frame.notices,
        bool(details.upcoming) and bool(details.messages),
        bool(details.upcoming) and details.upcoming[0].state == "observation",
        {True, False} <= {event.is_hit for event in newest},
        any(stage.behind for stage in frame.stages),
        sum(event.is_hit is not None for event in newest) >= 7,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.documents.pictures", description=__doc__)
    parser.add_argument("--data-dir", type=Path, help="where the demonstration runs [default: a temporary directory]")
    parser.add_argument("--bot-only", action="store_true", help="only discord-bot.png, after an earlier demonstration")
    options = parser.parse_args(arguments)
    console = Console(stderr=True, highlight=False)
    with tempfile.TemporaryDirectory() as temporary:
        data_dir = (options.data_dir or Path(temporary) / "headrace").resolve()
        if not options.bot_only:
            make_pictures(data_dir, console)
        draw_bot(data_dir, console, PICTURES / "discord-bot.png")
    for picture in sorted(PICTURES.iterdir()):
        console.print(f"{picture}: {picture.stat().st_size // 1024} KB", soft_wrap=True)


def make_pictures(data_dir: Path, console: Console) -> None:
    view = CapturingView(console)
    with prepared_environment(Settings(data_dir=data_dir), None, console, lambda _: view) as environment:
        demonstrate(environment, RunOptions(source=SOURCE))
        assert view.best is not None
        PICTURES.mkdir(exist_ok=True)
        (PICTURES / "live-view.svg").write_text(svg_of(view.best, WIDTH, HEIGHT, "make run"), encoding="utf-8")
        predict_days_after(environment, next_day(environment.data_dir))
        draw_calibration(environment, PICTURES / "calibration.png")


def predict_days_after(environment: RunEnvironment, next_up: DemonstrationDay) -> None:
    """Load the days from the next one on, and let the model predict them by a replay of what was loaded."""
    first = next_up.day
    last = first + timedelta(days=DAYS_AFTER - 1)
    clock = VirtualTime(datetime(last.year, last.month, last.day, 5, tzinfo=JST) + timedelta(days=1), 1.0, time.time())
    simulation = Simulation(free_port())
    options = RunOptions(SOURCE, base_url=simulation.url, from_date=first, to_date=last, clock=clock)
    days = ("--event-time", "--from", str(first), "--to", str(last))
    where = ("--data-dir", str(environment.data_dir.path))
    command = python("-m", "headrace", "replay", "predictor", LOADED, *days, "--wait", *where)
    log = environment.data_dir.log("replay")
    with environment.session() as session:
        session.monitor.begin(Phase(STEPS[0], f"loading and predicting {first} to {last}", "load", zone=JST))
        session.start([simulator_program(simulation, environment.data_dir, clock)])
        session.wait(simulation.listens)
        session.start(environment.services(options, follow=False))
        replace(next_up, day=last).begin()  # a further demonstration continues after these days
        session.wait_for_readings(lambda reading: waiting_for(reading) is None)
        session.run_task(Program("replay", command, log, common_environment(environment.data_dir), restart=False))
        session.wait_for_readings(lambda reading: waiting_for(reading) is None)


def draw_calibration(environment: RunEnvironment, path: Path) -> None:
    """Of the last prediction of each settled event that knew the observation."""
    with environment.access.connect("headrace pictures") as connection:
        predicted = [each for each in read_predictions(connection) if each.state == "observation"]
    win = np.array([[each.p_win.get(slot, 0.0) for slot in range(1, SLOTS + 1)] for each in predicted])
    winner = np.array([each.winner - 1 for each in predicted])
    draw_reliability(path, win, win > 0, winner)


if __name__ == "__main__":
    main()
