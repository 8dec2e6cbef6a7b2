"""`make bench-predict`: measures the quality and speed of predictions, and of baselines trained in the same run.

The models are trained on the archive up to one day and evaluated on the days after it, with the history updated as
results arrive. They are also calibrated on these days; `headrace backtest` evaluates on days that nothing was fitted
on. Intervals are 95 %, from 2,000 bootstrap samples clustered by day and venue. Speeds are of one core.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

# Before numpy is imported, because it reads the number of threads then.
os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

import orjson

from bench.predict_quality import MODEL, BenchData, fit_bench_baselines, forecasts, tables
from bench.predict_speed import (
    Predict,
    loaded_database,
    measure_fact_speeds,
    measure_speeds,
    measure_stored_speeds,
    predict_with_trees,
)
from headrace.backtest.archive import read_archive
from services.predictor.backtest.baselines import BOOSTING
from services.predictor.data.events import EventFacts, events_of
from services.predictor.data.instants import day_number
from services.predictor.data.profile import BOATRACE
from services.predictor.data.split import Split
from services.predictor.evaluation.bootstrap import Interval
from services.predictor.evaluation.tables import Cell, format_table
from services.predictor.features.history import History
from services.predictor.learners.processes import process_executor, use_single_thread
from services.predictor.model.ensemble import Ensemble
from services.predictor.training.candidate import registry_of
from services.predictor.training.dataset import training_set_of
from services.predictor.training.request import TrainingContext
from services.predictor.training.train import train

ARCHIVE = Path(os.environ.get("HEADRACE_BOATRACE", Path(__file__).parents[2] / "shared" / "data" / "boatrace"))


@dataclass(frozen=True)
class BenchSetup:
    records: list[EventFacts]
    model: Ensemble
    history: History
    data: BenchData


def main() -> None:
    options = arguments()
    use_single_thread()
    prepared = set_up(options)
    course = prepared.data
    log_line(
        f"{len(course.training_examples.training):,} training events, {len(course.evaluation_set.events):,} test events"
    )
    rivals = fit_bench_baselines(course, options.seed, options.most_trees, log_line)
    quality, differences = tables(course, forecasts(course, prepared.model, rivals), options.seed)
    speed = {MODEL: prediction_speeds(prepared, prepared.model.probabilities, options)}
    if rivals.boosting is not None:
        speed[BOOSTING] = prediction_speeds(prepared, predict_with_trees(rivals.boosting), options, with_facts=False)
    if options.json:
        result = {"quality": quality, "differences": [to_json(row) for row in differences], "speed": speed}
        print(orjson.dumps(result).decode())
    else:
        print(format_table(quality), format_table(differences), sep="\n\n", end="\n\n")
        print(format_table([{"speed of": name, **speeds} for name, speeds in speed.items()], digits=2))


def set_up(options: argparse.Namespace) -> BenchSetup:
    started = time.perf_counter()
    records = read_archive(options.archive, first=options.first, last=options.last, on_problem=log_line)
    events, history = events_of(records, BOATRACE.slots), History(BOATRACE)
    log_line(f"{len(records):,} events read, {time.perf_counter() - started:.0f} s")
    started = time.perf_counter()
    if options.model is None:
        split = Split(options.train_to, options.last)
        context = TrainingContext(log_line, executor=process_executor(options.workers))
        model = train(training_set_of(events, BOATRACE, split), options.seed, context).model
    else:
        model = registry_of(options.models_dir).load(options.model)
    log_line(f"the model is ready, {time.perf_counter() - started:.0f} s")
    history.fold(events)
    return BenchSetup(records, model, history, BenchData.of(model, events, history, options.train_to, options.last))


def prediction_speeds(
    prepared: BenchSetup, predict: Predict, options: argparse.Namespace, with_facts: bool = True
) -> dict[str, float]:
    """Speeds on one core. `with_facts`: also from records and from database rows to probabilities."""
    course, encoding = prepared.data, prepared.model.description.encoding
    figures = measure_speeds(predict, course.observed_inputs)
    if not with_facts:
        return figures
    keys_to_predict = set(course.evaluation_set.events.event_key[-500:].tolist())
    records = [each for each in prepared.records if each.event_key in keys_to_predict]
    figures |= measure_fact_speeds(records, BOATRACE, prepared.history, encoding, predict)
    if options.stored_days:
        first = day_number(options.last) - options.stored_days + 1
        keys = course.evaluation_set.events.event_key[course.evaluation_set.events.day >= first].tolist()
        with loaded_database(options.archive, options.last, options.stored_days) as url:
            figures |= measure_stored_speeds(url, keys, BOATRACE, prepared.history, encoding, predict)
    return figures


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.predict", description=__doc__)
    parser.add_argument("--archive", type=Path, default=ARCHIVE, help="folder that contains v2/ (default: %(default)s)")
    day, usual = date.fromisoformat, "(default: %(default)s)"
    parser.add_argument("--from", dest="first", type=day, help="first training day (default: the archive's first)")
    parser.add_argument("--train-to", type=day, default=date(2026, 2, 28), help=f"last training day {usual}")
    parser.add_argument("--to", dest="last", type=day, default=date(2026, 3, 31), help=f"last evaluation day {usual}")
    parser.add_argument("--model", metavar="V", help="evaluate this existing model version instead of training one")
    parser.add_argument("--models-dir", type=Path, default=Path(".headrace/models"), help=f"folder of --model {usual}")
    parser.add_argument("--workers", type=int, help="parallel trainings (default: one per core, at most four)")
    parser.add_argument("--most-trees", type=int, default=1500)
    parser.add_argument(
        "--stored-days", type=int, default=3, help="days to load for the speed from a database; 0: none"
    )
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--json", action="store_true", help="one line of JSON")
    options = parser.parse_args()
    if not (options.archive / "v2").is_dir():
        parser.error(f"{options.archive} has no v2/: pass a recorded archive with --archive or HEADRACE_BOATRACE")
    if not (options.first or date.min) <= options.train_to < options.last:
        parser.error("--from, --train-to and --to must be in this order")
    return options


def to_json(row: dict[str, Cell]) -> dict[str, Any]:
    return {name: cell._asdict() if isinstance(cell, Interval) else cell for name, cell in row.items()}


def log_line(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
