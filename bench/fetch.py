"""`make bench-fetch`: measures a back-fill of recorded days by the fetcher, next to a bare thread pool.

A server in this process has all documents in memory. The fetcher is the service's own process, with an embedded broker
in a new data directory. It archives each document, splits it, and commits records and cursors; everything is durable.
The bare pool uses the same HTTP client and the same number of threads, and writes each document to a file. The durable
pool is the same, but each document is compressed, synced and copied into a table: the cost of a durable copy alone. All
run in turn for several rounds; the results are medians.

The time of the fetcher is from its first request to the commit of the last window. CPU per document is listed for the
pools, for the fetcher without its start, and for the database. On a machine that others use, compare the CPU.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import psycopg
import yaml

from bench.broker_site import cpu_s
from bench.fetch_bare import TABLE
from bench.fetch_server import SOURCE, RecordedServer, serving_recorded
from headrace.database.access import Access, open_database, prepare
from headrace.database.data_dir import DataDir
from headrace.run.options import RunOptions
from headrace.run.programs import service_environment
from services.fetcher.archive.store import DocumentArchive
from shared.settings.sections import Settings

ROOT = Path(__file__).parents[1]
ARCHIVE = Path(os.environ.get("HEADRACE_BOATRACE", ROOT.parent / "shared" / "data" / "boatrace"))
THREADS = 4
GIVE_UP_S = 600.0
POLL_INTERVAL_S = 0.05
# The share of the bare pool's documents per second that the fetcher must reach.
BAR = 0.6
COMMITTED = r"SELECT count(*) FROM broker.cursors WHERE key ~ '/\d{4}-\d\d-\d\d$'"
DONE = COMMITTED + """ AND convert_from(value, 'UTF8')::json ->> 'state' = 'done'"""


class FetchMeasurement(NamedTuple):
    """`server_cpu_s`: CPU of the database; 0 for a pool without one."""

    documents: int
    wall_s: float
    cpu_s: float
    server_cpu_s: float = 0.0

    @property
    def rate(self) -> float:
        return self.documents / self.wall_s


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.fetch", description=__doc__)
    parser.add_argument("--archive", type=Path, default=ARCHIVE, help="folder that contains v2/ (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=THREADS, help="of both (default: %(default)s)")
    options = parser.parse_args()
    if not (options.archive / "v2").is_dir():
        parser.error(f"{options.archive} has no v2/: pass a recorded archive with --archive or HEADRACE_BOATRACE")
    bare, durable, ours = [], [], []
    with serving_recorded(options.archive) as server:
        for turn in range(options.rounds):
            bare.append(run_pool(server, options.threads))
            durable.append(run_durable(server, options.threads))
            ours.append(run_fetcher(server, options.threads))
            share = share_of(bare[-1:], ours[-1:])
            seconds = ", ".join(
                f"{name} {rounds[-1].wall_s:.2f} s"
                for name, rounds in (("bare", bare), ("durable", durable), ("fetcher", ours))
            )
            print(f"round {turn + 1}: {seconds}, share {share:.2f}", flush=True)
    print(report(bare, durable, ours))
    return 0 if share_of(bare, ours) >= BAR else 1


def run_pool(server: RecordedServer, threads: int, conninfo: str | None = None) -> FetchMeasurement:
    """The bare pool; with a database, the durable pool."""
    urls = [server.url + path for path in server.documents]
    with tempfile.TemporaryDirectory() as folder:
        task = json.dumps({"urls": urls, "threads": threads, "folder": folder, "conninfo": conninfo})
        command = [sys.executable, "-m", "bench.fetch_bare"]
        output = subprocess.run(command, input=task, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    return FetchMeasurement(len(server.documents), **json.loads(output))


def run_durable(server: RecordedServer, threads: int) -> FetchMeasurement:
    with new_site() as (place, _):
        settings = Settings(data_dir=place / "data")
        with open_database(settings) as access:
            assert access.server is not None
            database = psutil.Process(access.server.pid())
            with access.connect() as connection:
                connection.execute(TABLE)
            began_s = tree_cpu_s(database)
            measurement = run_pool(server, threads, access.owner().conninfo("headrace bench"))
            return measurement._replace(server_cpu_s=tree_cpu_s(database) - began_s)


@contextmanager
def new_site() -> Iterator[tuple[Path, DataDir]]:
    """A new folder, with a data directory in it."""
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder:
        place = Path(folder)
        place.chmod(0o755)  # the database server runs as another user
        data_dir = DataDir(place / "data")
        data_dir.create()
        data_dir.create_token()
        yield place, data_dir


def run_fetcher(server: RecordedServer, threads: int) -> FetchMeasurement:
    """Raises SystemExit if a document is missing afterwards."""
    with new_site() as (place, data_dir):
        settings = Settings(data_dir=data_dir.path)
        with open_database(settings) as access:
            prepare(access, settings)
            server.restart()
            with fetcher_process(access, data_dir, declaration(place, server, threads), server, threads) as process:
                measurement = measure(access, server, process)
        lines = sum(1 for _ in DocumentArchive(data_dir.path / "archive").documents())
        if lines != len(server.documents):
            raise SystemExit(f"expected {len(server.documents)} archived documents, found {lines}")
    return measurement


def declaration(place: Path, server: RecordedServer, threads: int) -> Path:
    """The source without a budget."""
    declared: dict[str, object] = {"extends": SOURCE, "base_url": server.url, "concurrency": threads}
    declared["budget"] = {"rate": None, "in_flight": None}
    path = place / "source.yaml"
    path.write_text(yaml.safe_dump(declared))
    return path


@contextmanager
def fetcher_process(
    access: Access, data_dir: DataDir, source: Path, server: RecordedServer, threads: int
) -> Iterator[psutil.Process]:
    days = sorted(path[-13:-5] for path in server.documents)
    first, last = (date(int(day[:4]), int(day[4:6]), int(day[6:])) for day in (days[0], days[-1]))
    options = RunOptions(str(source), from_date=first, to_date=last)
    environment = service_environment(access, data_dir, options, False, None, "embedded", "fetcher", 0)
    log = data_dir.path / "fetcher.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "services.fetcher"],
            env={**os.environ, **environment, "HEADRACE_FETCHER__THREADS": str(threads)},
            cwd=ROOT,
            stdout=out,
            stderr=out,
        )
        try:
            yield psutil.Process(process.pid)
        finally:
            process.terminate()
            process.wait()


def measure(access: Access, server: RecordedServer, process: psutil.Process) -> FetchMeasurement:
    """From the first request until all windows are committed. Raises SystemExit if that takes too long."""
    assert access.server is not None
    database = psutil.Process(access.server.pid())
    give_up_s = time.monotonic() + GIVE_UP_S
    while server.first_request_s is None and time.monotonic() < give_up_s:
        if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
            raise SystemExit("the fetcher ended before its first request")
        time.sleep(0.005)
    began_cpu_s, began_database_s = cpu_s(process), tree_cpu_s(database)
    with access.connect() as connection:
        while time.monotonic() < give_up_s:
            committed = count(connection, COMMITTED)
            if committed == len(server.documents) and server.first_request_s is not None:
                wall_s, used_s = time.monotonic() - server.first_request_s, cpu_s(process) - began_cpu_s
                done = count(connection, DONE)
                if done == committed:
                    return FetchMeasurement(done, wall_s, used_s, tree_cpu_s(database) - began_database_s)
                raise SystemExit(f"{committed - done} windows of {committed} failed")
            time.sleep(POLL_INTERVAL_S)
    raise SystemExit(f"the fetcher did not end within {GIVE_UP_S:.0f} s: {server.requests} requests")


def count(connection: psycopg.Connection[Any], query: str) -> int:
    row = connection.execute(query.encode()).fetchone()
    return 0 if row is None else int(row[0])


def tree_cpu_s(process: psutil.Process) -> float:
    """Of a process and its children, also of those that have ended."""
    ended = process.cpu_times()
    ended_s = ended.children_user + ended.children_system
    return ended_s + cpu_s(process) + sum(cpu_s(child) for child in process.children(recursive=True))


def share_of(bare: list[FetchMeasurement], ours: list[FetchMeasurement]) -> float:
    """The median over the rounds of the fetcher's share of the bare pool's rate."""
    return statistics.median(mine.rate / theirs.rate for mine, theirs in zip(ours, bare, strict=True))


def report(bare: list[FetchMeasurement], durable: list[FetchMeasurement], ours: list[FetchMeasurement]) -> str:
    lines = ["", f"{bare[0].documents} documents, medians of {len(bare)} rounds", ""]
    lines += ["| | seconds | documents/s | CPU ms/document | database's CPU ms/document |", "|-|-|-|-|-|"]
    for name, rounds in (("bare pool", bare), ("durable pool", durable), ("fetcher", ours)):
        wall_s = statistics.median(each.wall_s for each in rounds)
        rate = statistics.median(each.rate for each in rounds)
        cpu, database = (
            statistics.median(1000 * used_s / each.documents for each, used_s in zip(rounds, used, strict=True))
            for used in ([each.cpu_s for each in rounds], [each.server_cpu_s for each in rounds])
        )
        lines.append(f"| {name} | {wall_s:.2f} | {rate:.1f} | {cpu:.1f} | {database:.1f} |")
    first = f"the fetcher reaches {share_of(bare, ours):.0%} of the bare pool; the bar is {BAR:.0%}"
    second = (
        f"the durable pool reaches {share_of(bare, durable):.0%}, the fetcher {share_of(durable, ours):.0%} of that"
    )
    return "\n".join([*lines, "", first, second])


if __name__ == "__main__":
    sys.exit(main())
