"""`python -m bench.fetch_soak`: a fetcher beside a source that attacks two of its three feeds.

The simulator serves a recorded live day on a fast clock and attacks the requests for two feeds; the third is honest.
The day ends while the attacks go on; then the source behaves, and the fetcher catches up. Afterwards cleaner and loader
run, and the tables are compared with those of the final documents, loaded from the recorded archive.

Reported: resident memory, file descriptors and threads of the fetcher, the answers of `readyz`, how old a change of
each feed was when its record was appended (in seconds of this machine's clock), and the differences.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import msgspec
import psutil
import yaml

from bench.fetch import ARCHIVE, ROOT
from headrace.database.access import Access, open_broker, open_database, prepare
from headrace.database.data_dir import DataDir
from headrace.run.options import RunOptions, VirtualTime
from headrace.run.programs import service_environment
from services.fetcher.planning.cursor import status_of
from shared.settings.sections import Settings
from shared.topics import FETCHER_CURSORS, RAW

FEEDS = ("programs", "previews", "results")
HOSTILE = "programs,previews"
DAY = date(2026, 1, 31)
MIDNIGHT = datetime(2026, 1, 30, 15, tzinfo=UTC)
VIEWS = ("events", "entries", "observations", "outcomes", "transactions")
GIVE_UP_S = 600.0


class Published(msgspec.Struct):
    """What is needed of a raw event. The rest is skipped, because its numbers may be hostile."""

    feed: str
    historical: bool
    published_at: datetime | None = None


class Sample(NamedTuple):
    """The fetcher at one moment; `ready`: the status of `readyz`, 0 without an answer."""

    memory_mb: float
    descriptors: int
    threads: int
    ready: int


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.fetch_soak", description=__doc__)
    parser.add_argument("--archive", type=Path, default=ARCHIVE, help="folder that contains v2/ and live/")
    parser.add_argument("--minutes", type=float, default=10, help="of attacks (default: %(default)s)")
    parser.add_argument("--rate", type=float, default=0.5, help="share of attacked requests (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="headrace-soak-") as folder:
        place = Path(folder)
        place.chmod(0o755)
        actual = run_soak(place, options)
        expected = reference(place, options.archive)
    differences = [view for view in VIEWS if actual[view] != expected[view]]
    for view in differences:
        lost, extra = expected[view] - actual[view], actual[view] - expected[view]
        print(f"{view}: {len(lost)} rows missing, {len(extra)} rows that differ", sorted(lost)[:1], sorted(extra)[:1])
    print(f"rows: { {view: len(rows) for view, rows in actual.items()} }")
    print("all tables equal the oracle" if not differences else f"tables that differ: {', '.join(differences)}")
    return 1 if differences else 0


def run_soak(place: Path, options: argparse.Namespace) -> dict[str, set[str]]:
    """The rows of the views after the attacks, and prints what was sampled."""
    # The day takes three quarters of the time of the attacks.
    speed = 24 * 60 / (0.75 * options.minutes)
    clock = VirtualTime(MIDNIGHT, speed, time.time() + 10)
    with ExitStack() as stack:
        access, settings, data_dir = stack.enter_context(new_site(place / "data"))
        url = stack.enter_context(simulator(place, options, clock))
        run = RunOptions(declaration(place, url), from_date=DAY, clock=clock)
        fetcher = stack.enter_context(service(access, data_dir, run, "fetcher", follow=True))
        samples = sample_until(fetcher, data_dir, lambda: time.time() > clock.epoch_s + 60 * options.minutes)
        print(f"sampled {len(samples)} times in {options.minutes:g} minutes of attacks")
        began_s = time.monotonic()
        with open_broker(access, settings, "headrace soak") as broker:

            def is_done() -> bool:
                cursors = broker.cursors(FETCHER_CURSORS)
                return all(is_closed(cursors.get(f"boatrace-soak/{feed}/{DAY}")) for feed in FEEDS)

            samples += sample_until(fetcher, data_dir, is_done)
            print(f"the day was complete {time.monotonic() - began_s:.0f} s after the attacks")
            print_samples(samples)
            for feed, ages in ages_of(broker, clock).items():
                median, late = statistics.median(ages), quantile(ages)
                print(
                    f"{feed}: {len(ages)} records, age median {median:.1f} s, p95 {late:.1f} s, max {max(ages):.1f} s"
                )
        with service(access, data_dir, run, "cleaner"), service(access, data_dir, run, "loader"):
            return settled_rows(access)


def is_closed(value: bytes | None) -> bool:
    return value is not None and status_of(value).state == "done"


@contextmanager
def new_site(folder: Path) -> Iterator[tuple[Access, Settings, DataDir]]:
    settings = Settings(data_dir=folder)
    data_dir = DataDir(folder)
    data_dir.create()
    data_dir.create_token()
    with open_database(settings) as access:
        prepare(access, settings)
        yield access, settings, data_dir


@contextmanager
def simulator(place: Path, options: argparse.Namespace, clock: VirtualTime) -> Iterator[str]:
    port_file = place / "url"
    arguments = {
        "--recorded": options.archive / "live" / str(DAY),
        "--hostile": options.rate,
        "--hostile-feeds": HOSTILE,
        "--hostile-for": 60 * options.minutes,
        "--seed": options.seed,
        "--fail-rate": 0,
        "--clock-start": clock.start.isoformat(),
        "--clock-speed": clock.speed,
        "--clock-epoch": clock.epoch_s,
        "--port-file": port_file,
    }
    command = ["-m", "headrace", "simulate", *(str(each) for pair in arguments.items() for each in pair)]
    with process(command, {}, place / "simulator.log"):
        wait_for(port_file.exists, "the simulator to listen")
        yield port_file.read_text().strip()


def declaration(place: Path, url: str) -> str:
    """The boat races with short time limits, and with a budget, so that the requests pass a gate with limits.

    One of the attacks asks to wait until the year 2100, for all requests to the host."""
    declared = {
        "extends": "boatrace",
        "name": "boatrace-soak",
        "base_url": url,
        "budget": {"rate": 20, "burst": 20, "in_flight": 6, "max_retry_after_s": 5},
        "http": {"connect_timeout_s": 2, "read_timeout_s": 2, "total_timeout_s": 5},
        "retry": {"tries": 2, "total_s": 8},
    }
    path = place / "source.yaml"
    path.write_text(yaml.safe_dump(declared))
    return str(path)


@contextmanager
def service(
    access: Access, data_dir: DataDir, options: RunOptions, name: str, follow: bool = False
) -> Iterator[psutil.Process]:
    environment = service_environment(access, data_dir, options, follow, None, "embedded", name, 0)
    with process(["-m", f"services.{name}"], environment, data_dir.path / f"{name}.log") as running:
        yield running


@contextmanager
def process(arguments: list[str], environment: Mapping[str, str], log: Path) -> Iterator[psutil.Process]:
    with log.open("ab") as out:
        child = subprocess.Popen(
            [sys.executable, *arguments], env={**os.environ, **environment}, cwd=ROOT, stdout=out, stderr=out
        )
        try:
            yield psutil.Process(child.pid)
        finally:
            child.terminate()
            child.wait()


def sample_until(fetcher: psutil.Process, data_dir: DataDir, is_over: Callable[[], bool]) -> list[Sample]:
    """A sample each second. Raises SystemExit if the fetcher ends, or after GIVE_UP_S beyond an hour."""
    samples, give_up_s = [], time.monotonic() + GIVE_UP_S + 3600
    while not is_over():
        if not fetcher.is_running() or fetcher.status() == psutil.STATUS_ZOMBIE:
            raise SystemExit(f"the fetcher ended: {(data_dir.path / 'fetcher.log').read_text()[-2000:]}")
        if time.monotonic() > give_up_s:
            raise SystemExit("the day was never complete")
        with fetcher.oneshot():
            memory_mb = fetcher.memory_info().rss / 1e6
            samples.append(Sample(memory_mb, fetcher.num_fds(), fetcher.num_threads(), readiness(fetcher)))
        time.sleep(1.0)
    return samples


def readiness(fetcher: psutil.Process) -> int:
    for connection in fetcher.net_connections("tcp4"):
        if connection.status == psutil.CONN_LISTEN:
            try:
                return httpx2.get(f"http://127.0.0.1:{connection.laddr.port}/readyz", timeout=5).status_code
            except httpx2.HTTPError:
                return 0
    return 0


def print_samples(samples: list[Sample]) -> None:
    warm = samples[len(samples) // 10 :]
    for name in ("memory_mb", "descriptors", "threads"):
        values = [getattr(sample, name) for sample in warm]
        most, middle = max(values), statistics.median(values)
        print(f"{name}: first {values[0]:.0f}, median {middle:.0f}, max {most:.0f}, last {values[-1]:.0f}")
    print(f"readyz: {dict(Counter(sample.ready for sample in samples))}")


def ages_of(broker: Any, clock: VirtualTime) -> dict[str, list[float]]:
    """The age of each change of the day when its record was appended, by feed."""
    ages: dict[str, list[float]] = defaultdict(list)
    tps = broker.partitions(RAW)
    ends = broker.end_offsets(tps)
    with closing(broker.reader(tps)) as reader:
        for tp, offset in broker.begin_offsets(tps).items():
            reader.seek(tp, offset)
        while any(reader.position(tp) < ends[tp] for tp in tps):
            for record in reader.poll(0.1, 2000):
                value = msgspec.json.decode(record.value, type=Published)
                if value.published_at and not value.historical:
                    real_s = clock.epoch_s + (value.published_at - clock.start).total_seconds() / clock.speed
                    ages[value.feed].append(record.timestamp_ms / 1000 - real_s)
    return ages


def quantile(values: list[float], share: float = 0.95) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def settled_rows(access: Access) -> dict[str, set[str]]:
    """The rows of the views, once they have not changed for ten seconds."""
    give_up_s, before, still_s = time.monotonic() + GIVE_UP_S, None, time.monotonic()
    while time.monotonic() < give_up_s:
        rows = rows_of(access)
        if rows != before:
            before, still_s = rows, time.monotonic()
        elif rows["events"] and time.monotonic() - still_s > 10:
            return rows
        time.sleep(1.0)
    raise SystemExit("the tables never settled")


def rows_of(access: Access) -> dict[str, set[str]]:
    """The rows of each view as JSON, without what depends on when and how often a document was fetched."""
    rows = {}
    with access.connect() as connection:
        for view in VIEWS:
            columns = connection.execute(
                "SELECT column_name::text FROM information_schema.columns WHERE table_schema = 'analytics'"
                " AND table_name = %s AND (data_type NOT LIKE 'timestamp%%' OR column_name = 'scheduled_at')"
                " AND column_name NOT IN ('version', 'revision') ORDER BY 1",
                (view,),
            ).fetchall()
            names = ", ".join(f'"{name}"' for (name,) in columns)
            query = f"SELECT to_jsonb(t)::text FROM (SELECT {names} FROM analytics.{view}) t"
            texts = connection.execute(query.encode()).fetchall()
            rows[view] = {str(text).replace("boatrace-soak", "boatrace") for (text,) in texts}
    return rows


def reference(place: Path, archive: Path) -> dict[str, set[str]]:
    """The rows of the views after loading the final documents of the day."""
    folder = place / "reference"
    command = ["-m", "headrace", "run", "--source", "archive", "--archive", str(archive), "--from", str(DAY)]
    command += ["--to", str(DAY), "--once", "--json", "--data-dir", str(folder)]
    subprocess.run([sys.executable, *command], cwd=ROOT, check=True, capture_output=True)
    with open_database(Settings(data_dir=folder)) as access:
        return rows_of(access)


def wait_for(condition: Callable[[], bool], what: str) -> None:
    give_up_s = time.monotonic() + 60
    while not condition():
        if time.monotonic() > give_up_s:
            raise SystemExit(f"waited a minute for {what}")
        time.sleep(0.1)


if __name__ == "__main__":
    sys.exit(main())
