"""Runs the jobs of a replica in a thread; trainer.py executes the trainings."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from services.predictor.jobs.child_process import job_starter
from services.predictor.jobs.kinds import PROMOTION, TRAINING
from shared.runtime.jobs.workers import JobSupervisor

PROGRAM = (sys.executable, "-m", "tests.services.predictor.trainer")


@contextmanager
def replica(conninfo: str, models: Path, name: str = "host-0", *options: str) -> Iterator[None]:
    start, stop = job_starter(conninfo, models, (*PROGRAM, *options)), threading.Event()
    starts = dict.fromkeys((TRAINING, PROMOTION), start)
    jobs = JobSupervisor("predictor", name, conninfo, starts, first_restart_delay_s=0.01)
    thread = threading.Thread(target=jobs.run, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
