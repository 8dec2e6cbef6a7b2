"""`make bench`: measures a run of the recorded archive through the pipeline, and a bare script that parses and COPYs.

Both run in turn for several rounds on the same machine. The results are medians and the ratio. Peak memory is the
largest resident size of each service's process.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import psutil

from headrace.database.embedded import EmbeddedPostgres

ROOT = Path(__file__).parents[1]
ARCHIVE = Path(os.environ.get("HEADRACE_BOATRACE", ROOT.parent / "shared" / "data" / "boatrace"))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--archive", type=Path, default=ARCHIVE, help="folder that contains v2/ (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--from", dest="first", default="2025-07-15", help="first day (default: %(default)s)")
    parser.add_argument("--to", dest="last", default="2026-03-31", help="last day (default: %(default)s)")
    parser.add_argument("--replicas", action="append", default=[], help="passed to headrace run, for example loader=2")
    options = parser.parse_args()
    if not (options.archive / "v2").is_dir():
        parser.error(f"{options.archive} has no v2/: pass a recorded archive with --archive or HEADRACE_BOATRACE")
    bare, headrace = [], []
    for turn in range(options.rounds):
        bare.append(run_bare(options.archive))
        headrace.append(run_headrace(options.archive, options.first, options.last, options.replicas))
        print_round(turn + 1, bare[-1], headrace[-1])
    print_summary(bare, headrace)


def run_bare(archive: Path) -> dict[str, Any]:
    """Run the bare script as a process with a new server, whose start is not measured."""
    with tempfile.TemporaryDirectory() as place:
        server = EmbeddedPostgres(Path(place))
        server.start()
        try:
            environment = os.environ | {"PGPASSWORD": server.password_file("headrace_owner").read_text().strip()}
            command = [sys.executable, "-m", "bench.bare", str(archive), server.url()]
            started = time.perf_counter()
            process = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, check=True)
            return orjson.loads(process.stdout.splitlines()[-1]) | {"wall": time.perf_counter() - started}
        finally:
            server.stop()


def run_headrace(archive: Path, first: str, last: str, replicas: Sequence[str] = ()) -> dict[str, Any]:
    """Run `headrace run --once` in a new data directory. The starts of server and services are measured too."""
    with tempfile.TemporaryDirectory() as place:
        command = [
            sys.executable,
            "-m",
            "headrace",
            "run",
            "--source",
            "archive",
            "--archive",
            str(archive),
            "--from",
            first,
            "--to",
            last,
            "--once",
            "--json",
            "--data-dir",
            place,
            *(f"--replicas={each}" for each in replicas),
        ]
        started = time.perf_counter()
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            peak: dict[str, float] = defaultdict(float)
            watch = threading.Thread(target=watch_memory, args=(process.pid, peak), daemon=True)
            watch.start()
            out, _ = process.communicate()
        if process.returncode:
            raise SystemExit(f"headrace run ended with {process.returncode}: {out.decode()[-500:]}")
        return orjson.loads(out.splitlines()[-1]) | {"wall": time.perf_counter() - started, "peak_mb": dict(peak)}


def watch_memory(pid: int, peak: dict[str, float]) -> None:
    """Record the largest resident size of each service in MB, until the process ends."""
    root = psutil.Process(pid)
    while root.is_running() and root.status() != psutil.STATUS_ZOMBIE:
        try:
            for child in root.children():
                name = next((part for part in child.cmdline() if part.startswith("services.")), None)
                if name:
                    peak[name] = max(peak[name], child.memory_info().rss / 1e6)
        except psutil.NoSuchProcess:
            pass
        time.sleep(0.2)


def print_round(turn: int, bare: dict[str, Any], headrace: dict[str, Any]) -> None:
    ratio = headrace["wall"] / bare["wall"]
    print(f"round {turn}: bare {bare['wall']:.1f} s, headrace {headrace['wall']:.1f} s, ratio {ratio:.2f}", flush=True)


def print_summary(bare: list[dict[str, Any]], headrace: list[dict[str, Any]]) -> None:
    ratios = [ours["wall"] / theirs["wall"] for ours, theirs in zip(headrace, bare, strict=True)]
    print(f"\nmedians of {len(bare)}: bare {median(bare):.1f} s, headrace {median(headrace):.1f} s (starts included)")
    print(f"ratio: median {statistics.median(ratios):.2f}, from {min(ratios):.2f} to {max(ratios):.2f}")
    last = headrace[-1]
    print(f"records: {orjson.dumps(last['topics']).decode()}")
    for stage, figures in last["stages"].items():
        print(f"  {stage}: {orjson.dumps(figures).decode()}")
    print("peak memory: " + ", ".join(f"{name} {size:.0f} MB" for name, size in sorted(last["peak_mb"].items())))


def median(runs: list[dict[str, Any]]) -> float:
    return statistics.median(run["wall"] for run in runs)


if __name__ == "__main__":
    main()
