"""The fault suite: python -m tests.faults [--broker embedded|kafka|both] [--seed N] [--minutes M] ...

Exit code 0 if nothing was lost, duplicated or reordered and every stage recovered in time; 1 otherwise; 2 without a
Kafka.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from pathlib import Path

from tests.faults.accidents.small_disk import can_mount, use_private_mounts
from tests.faults.broken import BROKEN
from tests.faults.churn import churn
from tests.faults.report import Report, summary
from tests.faults.schedule import ACCIDENTS, DISKS, EMBEDDED, KAFKA, Kind, Schedule, make_schedule
from tests.faults.suite import faulty_run, reference_run, run_directory
from tests.kafka.jars import KafkaMissingError

STARTED_S = time.monotonic()


def log(text: str) -> None:
    sys.stderr.write(f"{time.monotonic() - STARTED_S:7.1f} s  {text}\n")
    sys.stderr.flush()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--broker", choices=(EMBEDDED, KAFKA, "both"), default=EMBEDDED)
    parser.add_argument("--seed", type=int, help="of all random choices; default: a new one, which is printed")
    parser.add_argument("--runs", type=int, default=1, help="how many seeds are run, one after the other")
    parser.add_argument("--minutes", type=float, default=3.0, help="of faults for each broker and seed, approximately")
    parser.add_argument(
        "--days",
        type=int,
        help="the maximum number of days, but enough for the accidents; default: as many as the faults need",
    )
    parser.add_argument(
        "--accidents", type=accidents_of, default=(), metavar="KIND[,KIND]|all", help=f"also: {', '.join(ACCIDENTS)}"
    )
    parser.add_argument("--schedule", help="a printed schedule, or a file that contains one")
    parser.add_argument("--no-predictions", action="store_true", help="train no model, which is faster")
    parser.add_argument("--broken", metavar="SERVICE=KIND", help=f"break a service's units: {', '.join(BROKEN)}")
    parser.add_argument(
        "--churn",
        type=int,
        metavar="ACTIONS",
        help="start, stop and kill replicas at random instead, without their slots",
    )
    parser.add_argument("--keep", action="store_true", help="keep the directory with all logs and the database")
    return parser.parse_args()


def accidents_of(text: str) -> tuple[Kind, ...]:
    names = list(ACCIDENTS) if text == "all" else text.split(",")
    if unknown := [name for name in names if name not in ACCIDENTS]:
        raise argparse.ArgumentTypeError(f"{unknown[0]} is none of {', '.join(ACCIDENTS)}")
    return tuple(ACCIDENTS[name] for name in names)


def schedules(args: argparse.Namespace) -> list[Schedule]:
    if args.schedule:
        text = args.schedule if args.schedule.startswith("{") else Path(args.schedule).read_text()
        return [Schedule.model_validate_json(text)]
    seed = random.SystemRandom().randrange(10_000) if args.seed is None else args.seed
    return [
        make_schedule(seed + run, broker, args.minutes, args.days, possible(args.accidents))
        for run in range(args.runs)
        for broker in brokers_of(args)
    ]


def possible(accidents: tuple[Kind, ...]) -> tuple[Kind, ...]:
    """Without those that need small disks, if they cannot be mounted."""
    if can_mount():
        return accidents
    for kind in set(accidents) & DISKS:
        log(f"LEFT OUT: {kind}, because it needs root on Linux")
    return tuple(kind for kind in accidents if kind not in DISKS)


def brokers_of(args: argparse.Namespace) -> tuple[str, ...]:
    return (EMBEDDED, KAFKA) if args.broker == "both" else (args.broker,)


def run(schedule: Schedule, args: argparse.Namespace) -> Report:
    log(f"schedule {schedule.model_dump_json()}")
    broken = tuple(args.broken.split("=", 1)) if args.broken else None
    with run_directory(args.keep) as directory:
        log(f"directory {directory}")
        reference = reference_run(schedule, directory, predictions=not args.no_predictions, log=log)
        if not reference.recorded:
            log("NO RECORDED DAYS: synthetic ones are used; set HEADRACE_BOATRACE to the directory of the recording")
        report = faulty_run(schedule, reference, directory / "faulty", log, broken)
    sys.stdout.write("\n".join(report.lines()) + "\n")
    sys.stdout.flush()
    return report


def run_churn(args: argparse.Namespace) -> int:
    """Run the actions on each broker. Returns the exit code."""
    seed = random.SystemRandom().randrange(10_000) if args.seed is None else args.seed
    failed = False
    for broker in brokers_of(args):
        with run_directory(args.keep) as directory:
            log(f"{broker}, seed {seed}, directory {directory}")
            problems = churn(broker, directory, seed, args.churn, log)
        sys.stdout.write("\n".join([f"{broker}, seed {seed}:", *(problems or ["equal to the reference run"])]) + "\n")
        failed |= bool(problems)
    return int(failed)


def main() -> int:
    args = arguments()
    if can_mount():
        use_private_mounts()
    if args.churn:
        return run_churn(args)
    try:
        reports = [run(schedule, args) for schedule in schedules(args)]
    except KafkaMissingError as error:
        log(str(error))
        return 2
    sys.stdout.write(summary(reports) + "\n")
    return 1 if any(report.problems for report in reports) else 0


if __name__ == "__main__":
    sys.exit(main())
