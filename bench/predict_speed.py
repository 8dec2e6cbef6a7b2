"""Measures the speed of predictions: for batches, for single events, and from stored rows."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psycopg

from headrace.database.embedded import EmbeddedPostgres
from services.predictor.backtest.baselines import boosted_win
from services.predictor.data.events import EventFacts, events_of
from services.predictor.data.profile import Profile
from services.predictor.features.encoding import Encoding
from services.predictor.features.history import History
from services.predictor.features.inputs import Inputs, inputs_of
from services.predictor.learners.boosting.fit import Boosting
from services.predictor.storage.postgres_facts import read_events

Predict = Callable[[Inputs], Any]
"""Computes probabilities from features. The result type does not matter here."""
ROUNDS = 5
BATCH, ALONE = 3000, 1000
# Events per batch, as in the service.
STORED_BATCH = 500
ROOT = Path(__file__).parents[1]


def measure_speeds(predict: Predict, inputs: Inputs) -> dict[str, float]:
    """Speed from features: `events_per_s` of a batch, `alone_p50_ms` and `alone_p99_ms` of single events."""
    batch = inputs[:BATCH]
    rates = [len(batch) / seconds(lambda: predict(batch)) for _ in range(ROUNDS)]
    alone = [inputs[row : row + 1] for row in range(min(len(inputs), ALONE))]
    for each in alone[:20]:
        predict(each)
    waits_ms = [1000 * seconds(partial(predict, each)) for each in alone]
    p50, p99 = np.percentile(waits_ms, (50, 99))
    return {"events_per_s": statistics.median(rates), "alone_p50_ms": float(p50), "alone_p99_ms": float(p99)}


def predict_with_trees(boosting: Boosting) -> Predict:
    return partial(boosted_win, boosting)


def measure_fact_speeds(
    records: list[EventFacts], profile: Profile, history: History, encoding: Encoding, predict: Predict
) -> dict[str, float]:
    """Events per second from records to features and to probabilities. The history is folded before."""

    def features() -> Inputs:
        return inputs_of(events_of(records, profile.slots), history, encoding, "observation")

    return {
        "to_features_per_s": len(records) / statistics.median(seconds(features) for _ in range(ROUNDS)),
        "to_probabilities_per_s": len(records)
        / statistics.median(seconds(lambda: predict(features())) for _ in range(ROUNDS)),
    }


def measure_stored_speeds(
    url: str, keys: list[str], profile: Profile, history: History, encoding: Encoding, predict: Predict
) -> dict[str, float]:
    """Events per second from PostgreSQL rows to probabilities, in batches, on one core."""
    batches = [keys[start : start + STORED_BATCH] for start in range(0, len(keys), STORED_BATCH)]
    with psycopg.connect(url, autocommit=True) as connection:

        def predict_all() -> None:
            for batch in batches:
                events = events_of(read_events(connection, batch, profile), profile.slots)
                predict(inputs_of(events, history, encoding, "observation"))

        rates = [len(keys) / seconds(predict_all) for _ in range(ROUNDS)]
    return {"stored_to_probabilities_per_s": statistics.median(rates)}


@contextmanager
def loaded_database(archive: Path, last: date, days: int) -> Iterator[str]:
    """The URL of a database with the last `days` of the archive, loaded by the pipeline."""
    with tempfile.TemporaryDirectory() as place:
        command = [
            sys.executable,
            "-m",
            "headrace",
            "run",
            "--source",
            "archive",
            "--archive",
            str(archive),
            "--from",
            str(last - timedelta(days=days - 1)),
            "--to",
            str(last),
            "--once",
            "--json",
            "--data-dir",
            place,
        ]
        process = subprocess.run(command, cwd=ROOT, capture_output=True, check=False, env=os.environ)
        if process.returncode:
            raise SystemExit(f"headrace run ended with {process.returncode}: {process.stderr.decode()[-500:]}")
        server = EmbeddedPostgres(Path(place))
        server.start()
        try:
            yield server.url_with_password()
        finally:
            server.stop()


def seconds(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
