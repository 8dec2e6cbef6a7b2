"""`make bench-broker`: measures the speed of both brokers under the runtime, and of a bare loop of kafka-python.

Everything runs on this machine: a PostgreSQL with the settings of `headrace run` (fsync on), and a Kafka of one node.
Workers are processes. All variants run in turn in each round. The results are medians over the rounds.

The bare loop consumes and produces in transactions of the same size (up to 2,000 records) and with the same client
settings, except for one workaround. The runtime also parses and validates every message, and so does the second bare
loop. The requirement compares the runtime with that loop; the first bare loop shows the cost of parsing.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from bench.broker_latency import latencies_ms
from bench.broker_rates import BATCH, MeasuredRate, append_rate, transform_rate
from bench.broker_site import BrokerSite
from bench.broker_workers import bare, bare_decoding, runtime
from bench.kafka_server import running_kafka
from headrace.database.embedded import EmbeddedPostgres
from shared.database.migrations import migrate

MOST_OVERHEAD = 0.25
MACHINE_CPUS = len(os.sched_getaffinity(0))
ON_EMBEDDED, ON_KAFKA = 200_000, 100_000
APPEND = f"embedded: append, units of {BATCH}"
EMBEDDED_2 = "embedded: transform, 2 workers"
KAFKA_1 = "Kafka: transform, 1 worker"
BARE, BARE_DECODING = "bare loop: bytes only, 1 worker", "bare loop: parses too, 1 worker"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.broker", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kafka", metavar="HOST:PORT", help="a running Kafka (default: one is started)")
    parser.add_argument("--only", metavar="TEXT", default="", help="only measurements whose name contains this text")
    options = parser.parse_args()
    rates: dict[str, list[MeasuredRate]] = {}
    waits: dict[str, list[list[float]]] = {}
    with embedded() as log, running_kafka(options.kafka) as running:
        on_kafka = BrokerSite("Kafka", f"kafka://{running.address}", log.conninfo, running.pid)
        for turn in range(options.rounds):
            for name, measure in measures(log, on_kafka).items():
                if options.only in name:
                    sys.stderr.write(f"round {turn + 1} of {options.rounds}: {name}\n")
                    rates.setdefault(name, []).append(measure())
            for site in (log, on_kafka):
                if options.only in f"{site.name}: latency":
                    waits.setdefault(site.name, []).append(latencies_ms(site))
    show(rates, waits)


def measures(log: BrokerSite, on_kafka: BrokerSite) -> dict[str, Callable[[], MeasuredRate]]:
    return {
        APPEND: lambda: append_rate(log),
        "embedded: transform, 1 worker": lambda: transform_rate(log, runtime, 1, ON_EMBEDDED),
        EMBEDDED_2: lambda: transform_rate(log, runtime, 2, ON_EMBEDDED),
        "embedded: transform, 3 workers": lambda: transform_rate(log, runtime, 3, ON_EMBEDDED),
        BARE: lambda: transform_rate(on_kafka, bare, 1, ON_KAFKA),
        BARE_DECODING: lambda: transform_rate(on_kafka, bare_decoding, 1, ON_KAFKA),
        KAFKA_1: lambda: transform_rate(on_kafka, runtime, 1, ON_KAFKA),
        "Kafka: transform, 2 workers": lambda: transform_rate(on_kafka, runtime, 2, ON_KAFKA),
    }


@contextmanager
def embedded() -> Iterator[BrokerSite]:
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as directory:
        Path(directory).chmod(0o755)  # the server runs as another user
        postgres = EmbeddedPostgres(Path(directory) / "data")
        postgres.start()
        try:
            migrate(postgres.url_with_password())
            yield BrokerSite("embedded", "embedded", postgres.url_with_password(), postgres.pid())
        finally:
            postgres.stop()


def show(rates: Mapping[str, list[MeasuredRate]], waits: Mapping[str, list[list[float]]]) -> None:
    print(f"\n{'records/s':34} {'median':>9} {'lowest':>9} {'highest':>9} {'us CPU':>7}   share of a CPU")
    for name, measured in rates.items():
        values = [each.records_per_s for each in measured]
        shares = shares_of(measured)
        cpu = ", ".join(f"{part} {share:.0%}" for part, share in shares.items())
        print(
            f"{name:34} {median(measured):9,.0f} {min(values):9,.0f} {max(values):9,.0f} {cpu_us(measured):7.1f}"
            f"   {cpu}: {limit_of(shares)}"
        )
    print("us CPU: CPU time of the workers (or the appender) per record in microseconds; hardly depends on other load")
    if waits:
        print(f"\n{'record to record, ms':34} {'p50':>9} {'p99':>9}")
        for name, each in waits.items():
            print(f"{name:34} {percentile(each, 0.5):9.1f} {percentile(each, 0.99):9.1f}")
        print("limited by successive commits and wake-ups of three processes, not by CPU")
    print()
    for text, value, holds in bars(rates, waits):
        print(f"{'holds' if holds else 'FAILS':6} {text}: {value}")


def bars(
    rates: Mapping[str, list[MeasuredRate]], waits: Mapping[str, list[list[float]]]
) -> Iterator[tuple[str, str, bool]]:
    for name, least in ((APPEND, 100_000), (EMBEDDED_2, 50_000)):
        if name in rates:
            yield f"{name}, at least {least:,} records/s", f"{median(rates[name]):,.0f}", median(rates[name]) >= least
    for site, most_ms in (("embedded", 20), ("Kafka", 50)):
        if site in waits:
            p50 = percentile(waits[site], 0.5)
            yield f"{site}: record to record, p50 at most {most_ms} ms", f"{p50:.1f}", p50 <= most_ms
    for other in (BARE_DECODING, BARE):
        if {KAFKA_1, other} <= rates.keys():
            cost = over(rates[KAFKA_1], rates[other], lambda each: 1 / each.records_per_s)
            cpu = over(rates[KAFKA_1], rates[other], lambda each: each.cpu_us)
            text = f"overhead of the runtime over the {other}, at most {MOST_OVERHEAD:.0%}"
            yield text, f"{cost:.0%} (CPU {cpu:.0%})", cost <= MOST_OVERHEAD


def over(ours: list[MeasuredRate], theirs: list[MeasuredRate], cost: Callable[[MeasuredRate], float]) -> float:
    """The relative overhead per record of `ours`: the median of the overheads of each round."""
    return statistics.median(cost(a) / cost(b) - 1 for a, b in zip(ours, theirs, strict=True))


def shares_of(measured: list[MeasuredRate]) -> dict[str, float]:
    return {part: statistics.median(each.cpu[part] for each in measured) for part in measured[0].cpu}


def limit_of(shares: Mapping[str, float]) -> str:
    """What limits the rate: all CPUs of the machine, one process with nearly a whole CPU, or waiting."""
    busiest = max(shares, key=lambda part: shares[part])
    if sum(shares.values()) > 0.9 * MACHINE_CPUS:
        return f"limited by the machine's {MACHINE_CPUS} CPUs"
    if shares[busiest] > 0.85:
        return f"limited by the CPU of the {busiest}"
    return "limited by waiting (for other processes)"


def cpu_us(measured: list[MeasuredRate]) -> float:
    return statistics.median(each.cpu_us for each in measured)


def median(measured: list[MeasuredRate]) -> float:
    return statistics.median(each.records_per_s for each in measured)


def percentile(rounds: list[list[float]], share: float) -> float:
    """The median over the rounds of each round's percentile."""
    return statistics.median(waits[int((len(waits) - 1) * share)] for waits in rounds)


if __name__ == "__main__":
    main()
