"""`make bench-load`: loads the same clean records into the same PostgreSQL with this loader, with a bare COPY, and with
the loaders that a user would otherwise set up.

All variants run in turn in each round; the results are medians. A variant that cannot run is listed with the reason.
docs/performance.md explains the variants.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path

from bench.load.environments import PACKAGES, python_of, versions_of
from bench.load.headrace_loader import measure_headrace
from bench.load.kafka_connect import fetch_connect, measure_connect
from bench.load.programs import measure_program
from bench.load.records import REPEAT_EVERY
from bench.load.report import report_of
from bench.load.site import LoadCost, LoadSite, fill, load_site
from bench.scale_site import FailedMeasurement
from shared.broker.connect import connect
from shared.database.migrations import migrate
from shared.settings.sections import BrokerSettings, Settings
from shared.topics import topic_specs

PEERS = Path(__file__).parent / "peers"
RECORDS = 300_000

Measure = Callable[[LoadSite], LoadCost]


def main() -> None:
    options = _options()
    variants = {name: measure for name, measure in _variants(options.peers).items() if options.only in name}
    if not variants:
        raise SystemExit(f"bench: no variant contains {options.only!r}: {', '.join(_variants(options.peers))}")
    costs: dict[str, list[LoadCost]] = defaultdict(list)
    failures: dict[str, str] = {}
    with load_site(options.records, options.kafka) as site:
        fill_kafka(site)
        for turn in range(options.rounds):
            for name, measure in variants.items():
                if name in failures:
                    continue
                sys.stderr.write(f"round {turn + 1} of {options.rounds}: {name}\n")
                try:
                    costs[name].append(measure(site))
                except (FailedMeasurement, SystemExit) as error:
                    failures[name] = " ".join(str(error).split())
    measured = " ".join(name.lower() for name in costs if costs[name])
    versions = {peer: versions_of(peer, options.peers) for peer in PACKAGES if peer in measured}
    print(report_of(costs, failures, versions))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.load", description=__doc__)
    parser.add_argument("--records", type=int, default=RECORDS, help="a multiple of 10 (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", metavar="TEXT", default="", help="only variants whose name contains this text")
    parser.add_argument("--kafka", metavar="HOST:PORT", help="a running, empty Kafka (default: one is started)")
    parser.add_argument(
        "--peers",
        type=Path,
        default=Path.home() / ".cache" / "headrace-bench-load",
        help="folder of the peers' environments and jars (default: %(default)s)",
    )
    options = parser.parse_args()
    if options.records < REPEAT_EVERY or options.records % REPEAT_EVERY:
        parser.error(f"--records: expected a multiple of {REPEAT_EVERY}, got {options.records}")
    options.peers.mkdir(parents=True, exist_ok=True)
    return options


def _variants(folder: Path) -> Mapping[str, Measure]:
    return {
        "bare COPY": lambda site: measure_program(site, [sys.executable, "-m", "bench.load.bare"]),
        "headrace, embedded, 1 process": partial(measure_headrace, broker="embedded", processes=1),
        "headrace, embedded, 2 processes": partial(measure_headrace, broker="embedded", processes=2),
        "headrace, Kafka, 1 process": partial(measure_headrace, broker="kafka", processes=1),
        "headrace, Kafka, 2 processes": partial(measure_headrace, broker="kafka", processes=2),
        "FastStream batch subscriber": lambda site: measure_program(
            site, _peer("faststream", folder, "faststream_batch")
        ),
        "Quix Streams sink": lambda site: measure_program(site, _peer("quix", folder, "quix_sink"), creates_table=True),
        "Kafka Connect, JDBC sink": lambda site: measure_connect(site, fetch_connect(folder)),
        "dlt merge": lambda site: measure_program(
            site, _peer("dlt", folder, "dlt_merge"), creates_table=True, table="bench.events"
        ),
        "dlt merge, Arrow": lambda site: measure_program(
            site, [*_peer("dlt", folder, "dlt_merge"), "arrow"], creates_table=True, table="bench.events"
        ),
    }


def _peer(peer: str, folder: Path, program: str) -> list[str]:
    return [python_of(peer, folder), str(PEERS / f"{program}.py")]


def fill_kafka(site: LoadSite) -> None:
    settings = Settings(broker=BrokerSettings(url=f"kafka://{site.kafka.address}"))
    migrate(site.server.url_with_password())
    with closing(connect(settings, site.server.url_with_password())) as broker:
        broker.ensure_topics(topic_specs())
        fill(broker, site.records)


if __name__ == "__main__":
    main()
