"""Attacks the admin API of every service while a live day runs: python -m tests.attack [--requests N] [--clients N] ...

Exit code 0 if every refusal is a problem that says what to do and is counted, no process crashed, and none holds more
descriptors, threads or memory than before; 1 otherwise. The latencies are reported and decide nothing.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from bench.replay import percentile
from tests.attack.attempts import attempts_of, flood
from tests.attack.client import Outcome, Work, attack
from tests.attack.judge import complaints, statuses
from tests.attack.live_day import LiveDay, Service, live_day
from tests.attack.probe import Latencies, Probe
from tests.attack.processes import Holdings, holdings_of, leaks
from tests.waiting import wait_until

STARTED_S = time.monotonic()
# The 99th percentile under attack, over the quiet one.
BAR = 2.0
# Opens every connection and thread of the admin apps before what they hold is counted.
WARM_UP_REQUESTS = 100
SETTLE_LIMIT_S = 90.0


def log(text: str) -> None:
    sys.stderr.write(f"{time.monotonic() - STARTED_S:7.1f} s  {text}\n")
    sys.stderr.flush()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.attack", description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000, help="of all clients together (default: %(default)s)")
    parser.add_argument("--clients", type=int, default=50, help="at a time (default: %(default)s)")
    parser.add_argument("--quiet-s", type=float, default=30.0, help="seconds before the attack (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the order of the requests (default: %(default)s)")
    return parser.parse_args()


def work_for(services: Mapping[str, Service], tokens: Mapping[str, str | None], args: argparse.Namespace) -> Work:
    share = -(-args.requests // len(services))
    lists: list[Work] = []
    for service in services.values():
        attempts = attempts_of(service.get("/openapi.json").json(), tokens)
        lists.append([(service.name, *service.address, each) for each in flood(attempts, share, args.seed)])
    mixed = list(itertools.chain.from_iterable(lists))
    random.Random(args.seed).shuffle(mixed)
    return mixed[: args.requests]


def findings(
    day: LiveDay,
    services: Mapping[str, Service],
    counted: Mapping[str, Mapping[str, float]],
    outcomes: Sequence[Outcome],
    latencies: Latencies,
) -> Iterator[str]:
    """What is wrong after the attack."""
    for complaint, count in complaints(outcomes).items():
        yield f"{count} x {complaint}"
    for complaint, count in Counter(latencies.refused).items():
        yield f"{count} x an operator was refused: {complaint}"
    now = day.services()
    for name, service in services.items():
        if now.get(name, service).pid != service.pid or day.process.poll() is not None:
            yield f"{name} crashed"
            continue
        after = service.counted()
        for status, seen in statuses(each for each in outcomes if each.service == name).items():
            if after.get(status, 0) - counted[name].get(status, 0) < seen:
                yield f"{name}: {seen} responses {status}, but only {after.get(status, 0)} are counted"
    yield from day.tracebacks()


def holdings(services: Mapping[str, Service]) -> dict[str, Holdings]:
    return {name: holdings_of(service.pid) for name, service in services.items()}


def settled_leaks(services: Mapping[str, Service], before: Mapping[str, Holdings]) -> list[str]:
    """The leaks that remain when the last connections of the attack have timed out."""
    try:
        wait_until(lambda: not list(leaks(before, holdings(services))), deadline_s=SETTLE_LIMIT_S, poll_s=1.0)
    except AssertionError:
        return list(leaks(before, holdings(services)))
    return []


def run(day: LiveDay, args: argparse.Namespace) -> list[str]:
    services, tokens, token = day.services(), day.tokens(), day.file_token
    work = work_for(services, tokens, args)
    context = multiprocessing.get_context("spawn")
    # In a process of its own, so that it does not slow down the measurement.
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        pool.submit(attack, work[:WARM_UP_REQUESTS], args.clients).result()
        log("warm; the quiet phase begins")
        with Probe(day.conninfo, list(services.values()), token, 0) as quiet:
            time.sleep(args.quiet_s)
        before, counted = holdings(services), {name: each.counted() for name, each in services.items()}
        log(f"{len(work)} requests from {args.clients} clients")
        with Probe(day.conninfo, list(services.values()), token, quiet.next_number) as attacked:
            began_s = time.monotonic()
            outcomes = pool.submit(attack, work, args.clients).result()
            log(f"sent in {time.monotonic() - began_s:.0f} s")
    problems = settled_leaks(services, before)
    problems += findings(day, services, counted, outcomes, attacked.latencies())
    report(before, holdings(services), outcomes, quiet.latencies(), attacked.latencies())
    return problems


def report(
    before: Mapping[str, Holdings],
    after: Mapping[str, Holdings],
    outcomes: Sequence[Outcome],
    quiet: Latencies,
    attacked: Latencies,
) -> None:
    write = sys.stdout.write
    write(
        "responses: " + ", ".join(f"{count} x {status}" for status, count in sorted(statuses(outcomes).items())) + "\n"
    )
    for name, then in before.items():
        pairs = [f"{what} {old} -> {new}" for what, old, new in zip(then._fields, then, after[name], strict=True)]
        write(f"{name}: {', '.join(pairs)}\n")
    write(f"quiet:        {quiet.text()}\n")
    write(f"under attack: {attacked.text()}\n")
    for what in ("records_ms", "requests_ms"):
        factor = percentile(getattr(attacked, what), 0.99) / max(1e-9, percentile(getattr(quiet, what), 0.99))
        write(f"{what}: p99 is {factor:.1f} times the quiet one ({'within' if factor <= BAR else 'beyond'} {BAR:g})\n")


def main() -> int:
    args = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the live day is stopped
    with tempfile.TemporaryDirectory() as directory, live_day(Path(directory) / "data") as day:
        log("the live day runs")
        problems = run(day, args)
    sys.stdout.write("\n".join([*problems, f"{len(problems)} findings"]) + "\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
