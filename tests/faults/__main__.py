"""The fault suite: python -m tests.faults [--broker embedded|kafka|both] [--seed N] [--minutes M] ...

Exit code 0 when nothing was lost, told twice or reordered and every stage was back in time; 1 otherwise; 2 without a
Kafka to run on.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from pathlib import Path

from tests.faults.broken import BROKEN
from tests.faults.report import Report, summary
from tests.faults.schedule import EMBEDDED, KAFKA, Schedule, made
from tests.faults.suite import faulty_run, folder, serial_run
from tests.kafka.jars import KafkaMissingError

BEGAN_S = time.monotonic()


def say(text: str) -> None:
    sys.stderr.write(f"{time.monotonic() - BEGAN_S:7.1f} s  {text}\n")
    sys.stderr.flush()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--broker", choices=(EMBEDDED, KAFKA, "both"), default=EMBEDDED)
    parser.add_argument("--seed", type=int, help="of everything that is drawn; default: a new one, which is printed")
    parser.add_argument("--runs", type=int, default=1, help="how many seeds, one after the other")
    parser.add_argument("--minutes", type=float, default=3.0, help="of faults per broker and seed, about")
    parser.add_argument("--days", type=int, help="at most so many days; by default as many as the faults need")
    parser.add_argument("--schedule", help="a schedule as it was printed, or a file that holds one")
    parser.add_argument("--no-predictions", action="store_true", help="train no model: quicker")
    parser.add_argument("--broken", metavar="SERVICE=KIND", help=f"break a service's units: {', '.join(BROKEN)}")
    parser.add_argument("--keep", action="store_true", help="leave the directory with all logs and the database")
    return parser.parse_args()


def schedules(given: argparse.Namespace) -> list[Schedule]:
    if given.schedule:
        text = given.schedule if given.schedule.startswith("{") else Path(given.schedule).read_text()
        return [Schedule.model_validate_json(text)]
    seed = random.SystemRandom().randrange(10_000) if given.seed is None else given.seed
    brokers = (EMBEDDED, KAFKA) if given.broker == "both" else (given.broker,)
    return [made(seed + run, broker, given.minutes, given.days) for run in range(given.runs) for broker in brokers]


def run(schedule: Schedule, given: argparse.Namespace) -> Report:
    say(f"schedule {schedule.model_dump_json()}")
    broken = tuple(given.broken.split("=", 1)) if given.broken else None
    with folder(given.keep) as directory:
        say(f"in {directory}")
        serial = serial_run(schedule, directory, predictions=not given.no_predictions, say=say)
        if not serial.recorded:
            say("NO RECORDED DAYS: made-up ones are used; HEADRACE_BOATRACE names the directory of the recording")
        report = faulty_run(schedule, serial, directory / "faulty", say, broken)
    sys.stdout.write("\n".join(report.lines()) + "\n")
    sys.stdout.flush()
    return report


def main() -> int:
    given = arguments()
    try:
        reports = [run(schedule, given) for schedule in schedules(given)]
    except KafkaMissingError as missing:
        say(str(missing))
        return 2
    sys.stdout.write(summary(reports) + "\n")
    return 1 if any(report.problems for report in reports) else 0


if __name__ == "__main__":
    sys.exit(main())
