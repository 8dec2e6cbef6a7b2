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

from bench.predict_quality import MODEL, Course, opinions, rivals_of, tables
from bench.predict_speed import Tell, fact_speed, speeds, stored, stored_speed, trees_tell
from headrace.backtest.archive import read_archive
from services.predictor.backtest.baselines import BOOSTING
from services.predictor.data.events import EventFacts, events_of
from services.predictor.data.instants import day_number
from services.predictor.data.profile import BOATRACE
from services.predictor.data.split import Split
from services.predictor.evaluation.bootstrap import Interval
from services.predictor.evaluation.tables import Cell, table
from services.predictor.features.history import History
from services.predictor.learners.processes import side_by_side, single_thread
from services.predictor.model.ensemble import Trained
from services.predictor.training.candidate import registry_of
from services.predictor.training.dataset import ground_of
from services.predictor.training.request import TrainingContext
from services.predictor.training.train import train

ARCHIVE = Path(os.environ.get("HEADRACE_BOATRACE", Path(__file__).parents[2] / "shared" / "data" / "boatrace"))


@dataclass(frozen=True)
class Prepared:
    records: list[EventFacts]
    model: Trained
    history: History
    course: Course


def main() -> None:
    options = arguments()
    single_thread()
    prepared = prepare(options)
    course = prepared.course
    say(f"{len(course.lessons.training):,} events to learn from, {len(course.judged.events):,} to evaluate on")
    rivals = rivals_of(course, options.seed, options.most_trees, say)
    quality, differences = tables(course, opinions(course, prepared.model, rivals), options.seed)
    speed = {MODEL: measured(prepared, prepared.model.probabilities, options)}
    if rivals.boosting is not None:
        speed[BOOSTING] = measured(prepared, trees_tell(rivals.boosting), options, with_facts=False)
    if options.json:
        found = {"quality": quality, "differences": [plain(row) for row in differences], "speed": speed}
        print(orjson.dumps(found).decode())
    else:
        print(table(quality), table(differences), sep="\n\n", end="\n\n")
        print(table([{"speed of": name, **found} for name, found in speed.items()], digits=2))


def prepare(options: argparse.Namespace) -> Prepared:
    started = time.perf_counter()
    records = read_archive(options.archive, first=options.first, last=options.last, on_problem=say)
    events, history = events_of(records, BOATRACE.slots), History(BOATRACE)
    say(f"{len(records):,} events read, {time.perf_counter() - started:.0f} s")
    started = time.perf_counter()
    if options.model is None:
        split = Split(options.train_to, options.last)
        context = TrainingContext(say, executor=side_by_side(options.workers))
        model = train(ground_of(events, BOATRACE, split), options.seed, context).model
    else:
        model = registry_of(options.models_dir).load(options.model)
    say(f"the model is ready, {time.perf_counter() - started:.0f} s")
    history.fold(events)
    return Prepared(records, model, history, Course.of(model, events, history, options.train_to, options.last))


def measured(prepared: Prepared, tell: Tell, options: argparse.Namespace, with_facts: bool = True) -> dict[str, float]:
    """Speeds on one core. `with_facts`: also from records and from database rows to probabilities."""
    course, encoding = prepared.course, prepared.model.description.encoding
    found = speeds(tell, course.seen)
    if not with_facts:
        return found
    judged = set(course.judged.events.event_key[-500:].tolist())
    records = [each for each in prepared.records if each.event_key in judged]
    found |= fact_speed(records, BOATRACE, prepared.history, encoding, tell)
    if options.stored_days:
        first = day_number(options.last) - options.stored_days + 1
        keys = course.judged.events.event_key[course.judged.events.day >= first].tolist()
        with stored(options.archive, options.last, options.stored_days) as url:
            found |= stored_speed(url, keys, BOATRACE, prepared.history, encoding, tell)
    return found


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


def plain(row: dict[str, Cell]) -> dict[str, Any]:
    return {name: cell._asdict() if isinstance(cell, Interval) else cell for name, cell in row.items()}


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
