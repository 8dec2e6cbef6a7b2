"""A training program whose seed decides how it behaves: quick, endless, impossible, crashing. Runs as its own process.

Everything but the learning is the service's: requests on stdin, messages on stdout, model files, gate and audit.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from services.predictor.jobs.worker_program import message_sender, serve, unbuffered_stdin
from services.predictor.registry import transitions
from services.predictor.registry.gate import Comparison, PairedForecast
from services.predictor.training.request import TrainingContext, TrainingRequest
from shared.errors import ConfigError
from tests.services.predictor.model_requests import label_of, order

QUICK, ENDLESS, IMPOSSIBLE, CRASHES, CRASHES_ONCE, FORKS = 1, 2, 3, 4, 5, 6


def train(database_url: str, models_dir: Path, request: TrainingRequest, context: TrainingContext) -> dict[str, Any]:
    seed = request.seed
    forked = os.fork() if seed == FORKS else 0
    if not forked:
        context.log(f"process {os.getpid()}")
    context.progress(0.25)
    if seed == IMPOSSIBLE:
        raise ConfigError("training needs at least 100 settled events with their cards, found 3")
    marker = models_dir.parent / "crashed"
    if seed == CRASHES or (seed == CRASHES_ONCE and not marker.exists()):
        marker.touch()
        os._exit(9)
    while seed in {ENDLESS, FORKS}:
        time.sleep(0.05)
    last_day = str(request.until or date(2031, 4, 30))
    label = label_of(seed, last_day)
    version = transitions.add(models_dir, last_day, label, bytes(8), {}, order())
    days = {"first_day": label["first_day"], "last_day": last_day}
    return {"version": version, "events": 4000, "seconds": 1.0, "metrics": label["metrics"], **days}


def replay(database_url: str, models_dir: Path, comparison: Comparison) -> Sequence[PairedForecast]:
    """Forecasts in which the candidate is better than the live model."""
    rng = np.random.default_rng(2)
    return [
        PairedForecast(
            f"event {number}",
            f"day {number // 12}",
            int(rng.choice(3, p=[0.6, 0.2, 0.2])),
            (0.6, 0.2, 0.2),
            (0.4, 0.3, 0.3),
        )
        for number in range(min(comparison.most, 400))
    ]


if __name__ == "__main__":
    serve(unbuffered_stdin(), message_sender(sys.stdout.buffer), train, replay if "--replay" in sys.argv else None)
