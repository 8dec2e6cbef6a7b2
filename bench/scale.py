"""`make bench-scale`: measures each stage of the pipeline by its number of replicas, on both brokers.

For each broker and number of replicas it starts new servers and a load generator (`headrace simulate --sources 24`).
The stages work one after the other, each with all records waiting for it: the fetcher, the cleaner, the loader and,
with one replica, the predictor and the notifier. Then it measures all five services at once, on new servers, and the
same services while they have nothing to do. Everything runs on this machine. The results are medians over the rounds.
CPU times depend little on other load of the machine, rates do. With --write, the tables of docs/scaling.md are
replaced, with the sizing that is calculated from them.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from pathlib import Path

import orjson

from bench.scale_figures import BROKERS, TOGETHER, ScaleFigures, ScaleKey, StageCost
from bench.scale_report import replace_tables, tables_of
from bench.scale_site import (
    FailedMeasurement,
    measure_idle,
    measure_stage,
    measure_storage,
    measure_together,
    pipeline_site,
    running_pipeline,
)

DOCUMENT = Path(__file__).parents[1] / "docs" / "scaling.md"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--days", type=int, default=20, help="length of the season, 864 records a day (%(default)s)")
    parser.add_argument("--replicas", type=int, nargs="+", default=[1, 2, 3], help="divisors of 6 (default: 1 2 3)")
    parser.add_argument("--brokers", nargs="+", choices=BROKERS, default=list(BROKERS))
    parser.add_argument("--figures", type=Path, help="file to write the figures to; with --rounds 0, to read them from")
    parser.add_argument("--write", action="store_true", help="replace the tables of docs/scaling.md")
    options = parser.parse_args()
    if any(6 % count for count in options.replicas):
        parser.error("--replicas: expected divisors of 6, the number of partitions")
    if options.rounds < 1 and options.figures is None:
        parser.error("--rounds 0 needs --figures FILE")
    figures = read_figures(options.figures) if options.rounds < 1 else measure_all(options)
    tables = tables_of(figures)
    sys.stdout.write("\n".join(f"{name}\n\n{table}" for name, table in tables.items()))
    if options.write:
        DOCUMENT.write_text(replace_tables(DOCUMENT.read_text(), tables))


def read_figures(file: Path) -> ScaleFigures:
    return ScaleFigures.from_json(orjson.loads(file.read_bytes()))


def measure_all(options: argparse.Namespace) -> ScaleFigures:
    """Measure in turn, so that a busy minute does not fall on one variant. A failed measurement is left out."""
    figures = ScaleFigures()
    variants = itertools.product(
        range(1, options.rounds + 1), options.brokers, options.replicas, (measure_stages, measure_pipeline)
    )
    for turn, broker, replicas, measure in variants:
        sys.stderr.write(f"round {turn} of {options.rounds}, {broker}, replicas: {replicas}\n")
        try:
            measure(figures, broker, replicas, options.days)
        except FailedMeasurement as error:
            sys.stderr.write(f"  left out: {error}\n")
        if options.figures is not None:
            options.figures.write_bytes(orjson.dumps(figures.as_json()))
    return figures


def measure_stages(figures: ScaleFigures, broker: str, replicas: int, days: int) -> None:
    """Add one measurement of each stage with this number of replicas."""
    stages = {"fetcher": 1, "cleaner": replicas, "loader": replicas}
    if replicas == 1:
        stages |= {"predictor": 1, "notifier": 1}
    with pipeline_site(broker, days) as site:
        for stage, count in stages.items():
            add(figures, ScaleKey(broker, stage, count), measure_stage(site, stage, count))
        figures.storage[broker] = measure_storage(site, days)


def measure_pipeline(figures: ScaleFigures, broker: str, replicas: int, days: int) -> None:
    """Add one measurement of all five services at once, and one of the same services without work."""
    with pipeline_site(broker, days) as site, running_pipeline(site, replicas) as processes:
        add(figures, ScaleKey(broker, TOGETHER, replicas), measure_together(site, processes))
        if replicas == 1:
            figures.idle.setdefault(broker, []).append(measure_idle(site, processes))


def add(figures: ScaleFigures, key: ScaleKey, cost: StageCost) -> None:
    figures.add(key, cost)
    sys.stderr.write(
        f"  {key.stage}, {key.replicas}: {cost.records} records, {cost.records_per_s:.0f} records/s, CPU"
        f" seconds for 1,000: {cost.per_thousand_s('cpu_s'):.2f}, PostgreSQL"
        f" {cost.per_thousand_s('postgres_cpu_s'):.2f}, Kafka {cost.per_thousand_s('kafka_cpu_s'):.2f}\n"
    )


if __name__ == "__main__":
    main()
