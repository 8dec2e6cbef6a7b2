"""Upgrades a database and a broker of an earlier version in place, while records are in flight.

    python -m tests.upgrade REVISION [--broker embedded|kafka|both]

The earlier version is a revision of this repository; it runs with the packages that are installed. Three runs over the
same archive must give the same tables:

1. this version alone;
2. the earlier version, stopped half-way, and then this version;
3. the earlier version, while `headrace migrate` of this version migrates its database half-way.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from io import BytesIO
from pathlib import Path

import psycopg

from headrace.database.embedded import EmbeddedPostgres
from tests.faults.days import write_archive
from tests.headrace.runs import logs, tables
from tests.kafka.server import KafkaServer
from tests.waiting import wait_until

ROOT = Path(__file__).parents[1]
FIRST, DAYS, VENUES = date(2026, 1, 10), 45, 6
BROKERS = ("embedded", "kafka")
STARTED_S = time.monotonic()


def log(text: str) -> None:
    sys.stderr.write(f"{time.monotonic() - STARTED_S:7.1f} s  {text}\n")
    sys.stderr.flush()


def check_out(revision: str, folder: Path) -> Path:
    """The files of a revision, without its history."""
    command = ["git", "archive", "--format=tar", revision, "headrace", "services", "shared", "simulator"]
    archive = subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout
    with tarfile.open(fileobj=BytesIO(archive)) as files:
        files.extractall(folder, filter="data")
    return folder


class Installation:
    """A data directory, and the commands that work on it."""

    def __init__(self, data_dir: Path, archive: Path, broker_url: str) -> None:
        self.data_dir = data_dir
        self._archive = archive
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
        self._environment["HEADRACE_BROKER__URL"] = broker_url

    def start(self, version: Path) -> subprocess.Popen[bytes]:
        days = ["--from", FIRST.isoformat(), "--to", (FIRST + timedelta(days=DAYS - 1)).isoformat()]
        source = ["--source", "archive", "--archive", str(self._archive), "--once", *days]
        return self._popen(version, "run", *source)

    def finish(self, process: subprocess.Popen[bytes]) -> None:
        status = process.wait()
        assert status == 0, f"status {status}\n{self._output()}\n{logs(self.data_dir)}"

    def migrate(self, version: Path) -> None:
        self.finish(self._popen(version, "migrate"))

    def rebuild(self) -> None:
        """Add what the earlier version did not compute."""
        self.finish(self._popen(ROOT, "db", "rebuild"))

    def events(self) -> int:
        server = EmbeddedPostgres(self.data_dir)
        if not server.accepts_connections():
            return 0
        try:
            with psycopg.connect(server.url_with_password()) as connection:
                row = connection.execute("SELECT count(*) FROM analytics.events").fetchone()
        except psycopg.Error:
            return 0
        return 0 if row is None else int(row[0])

    def _popen(self, version: Path, *arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "headrace", *arguments, "--data-dir", str(self.data_dir)]
        # The working directory comes first on Python's path, also for the services that the command starts.
        with (self.data_dir.parent / "output").open("ab") as output:
            return subprocess.Popen(command, cwd=version, env=self._environment, stdout=output, stderr=output)

    def _output(self) -> str:
        return (self.data_dir.parent / "output").read_text()[-3000:]


@contextmanager
def broker_url(kind: str, folder: Path) -> Iterator[str]:
    if kind == "embedded":
        yield "embedded"
        return
    folder.mkdir()
    server = KafkaServer(folder).start()
    try:
        yield f"kafka://{server.bootstrap}"
    finally:
        server.kill()


def half_way(installation: Installation, process: subprocess.Popen[bytes], total: int) -> None:
    def is_half_way() -> bool:
        assert process.poll() is None, "the earlier version ended before it was half-way: use more days"
        return total / 4 < installation.events() < total

    wait_until(is_half_way, "the first quarter of the events")
    log(f"{installation.events()} of {total} events are loaded")


def stopped_and_upgraded(installation: Installation, earlier: Path, total: int) -> None:
    process = installation.start(earlier)
    half_way(installation, process, total)
    process.send_signal(signal.SIGTERM)
    process.wait()
    installation.finish(installation.start(ROOT))


def migrated_at_work(installation: Installation, earlier: Path, total: int) -> None:
    process = installation.start(earlier)
    half_way(installation, process, total)
    installation.migrate(ROOT)
    log(f"migrated with {installation.events()} events loaded")
    installation.finish(process)


SCENARIOS: dict[str, Callable[[Installation, Path, int], None]] = {
    "stopped half-way and continued by this version": stopped_and_upgraded,
    "migrated while the earlier version works": migrated_at_work,
}


def check(kind: str, earlier: Path, archive: Path, folder: Path) -> list[str]:
    """The problems on one broker."""
    folder.mkdir()

    def installation(name: str, url: str) -> Installation:
        (folder / name).mkdir()
        return Installation(folder / name / "data", archive, url)

    with broker_url(kind, folder / "kafka-reference") as url:
        reference = installation("reference", url)
        reference.finish(reference.start(ROOT))
    expected = tables(reference.data_dir)
    total = len(expected["events"])
    log(f"{kind}: {total} events by this version alone")
    problems = []
    for number, (name, scenario) in enumerate(SCENARIOS.items()):
        with broker_url(kind, folder / f"kafka-{number}") as url:
            upgraded = installation(str(number), url)
            scenario(upgraded, earlier, total)
        upgraded.rebuild()
        actual = tables(upgraded.data_dir)
        different = [table for table in expected if actual[table] != expected[table]]
        log(f"{kind}: {name}: {'DIFFERENT ' + ', '.join(different) if different else 'the same tables'}")
        problems += [f"{kind}, {name}: table {table} differs" for table in different]
    return problems


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.upgrade", description=__doc__)
    parser.add_argument("revision", help="the earlier version, for example a tag")
    parser.add_argument("--broker", choices=(*BROKERS, "both"), default="both")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hr-upgrade-") as name:
        folder = Path(name)
        earlier = check_out(args.revision, folder / "earlier")
        history = [FIRST + timedelta(days=number) for number in range(DAYS)]
        write_archive(folder / "archive", history, FIRST + timedelta(days=DAYS), VENUES)
        kinds = BROKERS if args.broker == "both" else (args.broker,)
        problems = [problem for kind in kinds for problem in check(kind, earlier, folder / "archive", folder / kind)]
    sys.stdout.write("\n".join(problems or ["every upgrade gives the tables of this version alone"]) + "\n")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
