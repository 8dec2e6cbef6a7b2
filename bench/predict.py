"""`make bench-predict`: how good and how fast predictions are, beside references trained in the same run.

Trained on the archive up to one day, judged on what comes after it, history going on as results arrive. Intervals:
2,000 bootstraps clustered by day and venue, 95 %. Speeds are of one core.
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

# Before numpy is loaded: its threads are counted then.
os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

import orjson

from bench.predict_quality import BOOSTING, Course, complete, quality_rows, references
from bench.predict_speed import Tell, fact_speed, speeds, stored, stored_speed, trees_tell
from headrace.recorded import read_archive
from services.predictor.facts import EventFacts, Events, events_of
from services.predictor.features.encoding import Encoding, encoding_of
from services.predictor.features.history import History
from services.predictor.features.inputs import Inputs, encoded
from services.predictor.features.names import names_of
from services.predictor.features.values import values_of
from services.predictor.judge.paired import Interval
from services.predictor.judge.tables import Cell, table
from services.predictor.profile import BOATRACE

ARCHIVE = Path(os.environ.get("HEADRACE_BOATRACE", Path(__file__).parents[2] / "shared" / "data" / "boatrace"))
EPOCH = date(1970, 1, 1).toordinal()


@dataclass(frozen=True)
class Prepared:
    records: list[EventFacts]
    events: Events
    history: History
    encoding: Encoding
    inputs: Inputs


def main() -> None:
    options = arguments()
    prepared = prepare(options)
    course = Course.of(prepared.events, options.train_to.toordinal() - EPOCH)
    say(f"{len(course.training):,} events to learn from, {len(course.judged):,} to judge by")
    told, boosting = references(course, prepared.inputs, prepared.encoding, options.seed, options.most_trees, say)
    wrong = [name for name, win in told.items() if not complete(win, prepared.events.taken[course.judged])]
    if wrong:
        raise SystemExit(f"not every event has probabilities that sum to one: {', '.join(wrong)}")
    quality = quality_rows(course, told, BOOSTING, options.seed)
    speed = {BOOSTING: measured(prepared, course, trees_tell(boosting), options)}
    if options.json:
        print(orjson.dumps({"quality": [plain(row) for row in quality], "speed": speed}).decode())
    else:
        print(table(quality))
        print(table([{"model": name, **found} for name, found in speed.items()], digits=2))


def prepare(options: argparse.Namespace) -> Prepared:
    started = time.perf_counter()
    records = read_archive(options.archive, first=options.first, last=options.last)
    say(f"{len(records):,} events read, {time.perf_counter() - started:.0f} s")
    events, history = events_of(records, BOATRACE.slots), History(BOATRACE)
    history.fold(events)
    trains = events.day <= options.train_to.toordinal() - EPOCH
    values = values_of(events, history, names_of(events[trains], BOATRACE), "observation")
    encoding = encoding_of(names_of(events[trains], BOATRACE), values, trains)
    inputs = encoded(values, encoding)
    took_s = time.perf_counter() - started
    say(f"{inputs.entry.shape[2]} entry features, {inputs.event.shape[1]} of events, {took_s:.0f} s")
    return Prepared(records, events, history, encoding, inputs)


def measured(prepared: Prepared, course: Course, tell: Tell, options: argparse.Namespace) -> dict[str, float]:
    records = [prepared.records[row] for row in course.judged[-500:]]
    found = speeds(tell, prepared.inputs[course.judged])
    found |= fact_speed(records, BOATRACE, prepared.history, prepared.encoding, tell)
    if options.stored_days:
        days = range(options.last.toordinal() - EPOCH - options.stored_days + 1, options.last.toordinal() - EPOCH + 1)
        keys = [str(prepared.events.event_key[row]) for row in course.judged if prepared.events.day[row] in days]
        with stored(options.archive, options.last, options.stored_days) as url:
            found |= stored_speed(url, keys, BOATRACE, prepared.history, prepared.encoding, tell)
    return found


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.predict", description=__doc__)
    parser.add_argument("--archive", type=Path, default=ARCHIVE, help="a folder that holds v2/ (default: %(default)s)")
    day, usual = date.fromisoformat, "(default: %(default)s)"
    parser.add_argument("--from", dest="first", type=day, help="first day to learn from (default: all)")
    parser.add_argument("--train-to", type=day, default=date(2026, 2, 28), help=f"last day to learn from {usual}")
    parser.add_argument("--to", dest="last", type=day, default=date(2026, 3, 31), help=f"last day to judge by {usual}")
    parser.add_argument("--most-trees", type=int, default=1500)
    parser.add_argument("--stored-days", type=int, default=3, help="days loaded into a database for speed; 0: none")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="one line of JSON")
    options = parser.parse_args()
    if not (options.archive / "v2").is_dir():
        parser.error(f"{options.archive} holds no v2/: name a recorded archive with --archive or HEADRACE_BOATRACE")
    if not (options.first or date.min) <= options.train_to < options.last:
        parser.error("--from, --train-to and --to must follow each other")
    return options


def plain(row: dict[str, Cell]) -> dict[str, Any]:
    return {name: cell._asdict() if isinstance(cell, Interval) else cell for name, cell in row.items()}


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
