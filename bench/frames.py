"""`make bench-frames`: reads predictions into pandas, by frames and by pandas.read_sql over psycopg.

A PostgreSQL with the settings of `headrace run` holds synthetic events of 60 days with two predictions each. Every
measurement runs in its own process, which imports its libraries and connects first; a round has one of each kind.
Seconds are wall time of the read, the peak is the growth of the process's resident memory during it; the results are
medians over the rounds. `read_sql` gets what most people write: the connection of psycopg and a SELECT. pandas then
warns that it prefers SQLAlchemy, which would read through the same driver.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import psycopg

from headrace.database.access import open_database, prepare
from headrace.database.embedded import READER, EmbeddedPostgres
from shared.settings.sections import Settings

FILL = """
INSERT INTO facts.sources (name) VALUES ('synthetic');
INSERT INTO facts.venues (source_id, code, name)
    SELECT s.id, g::text, 'Venue ' || g FROM facts.sources s, generate_series(1, 24) g;
INSERT INTO facts.sessions (session_key, source_id, venue_id, date)
    SELECT 'synthetic:' || d::date || ':' || lpad(v.code, 2, '0'), v.source_id, v.id, d::date
    FROM facts.venues v, generate_series(date '2031-01-01', date '2031-03-01', '1 day') d;
INSERT INTO facts.events (event_key, session_id, number, scheduled_at, status)
    SELECT session_key || ':' || lpad(n::text, 2, '0'), id, n, date + interval '1 hour' * n, 'settled'
    FROM facts.sessions, generate_series(1, 12) n;
INSERT INTO facts.predictions (record_id, event_id, state, model_version, as_of, shadow, feature_hash, probabilities)
    SELECT gen_random_uuid(), e.id, state, '20301231-2359-synthetic', e.scheduled_at - interval '1 hour', false, 'h', (
        SELECT jsonb_agg(jsonb_build_object('head', head, 'slot', slot, 'label', label,
                                            'probability', random() + e.id * 0))
        FROM (SELECT 'result' AS head, s AS slot, 'win' AS label FROM generate_series(1, 6) s
              UNION ALL SELECT 'top3', s, 'top3' FROM generate_series(1, 6) s
              UNION ALL SELECT 'trend', null, l FROM unnest(array['low', 'mid', 'high']) l
              UNION ALL SELECT 'behaviour', s, l FROM generate_series(1, 6) s,
                                                      unnest(array['early', 'normal', 'late']) l) classes)
    FROM facts.events e, unnest(array['card', 'observation']) state;
"""
ROWS = 1_000_000
# Whole days with at least ROWS rows: 24 venues, 12 events, 2 predictions, 33 classes make 19,008 rows a day.
LAST_DAY = "2031-02-22"
SQL = f"SELECT * FROM predictions WHERE event_key < 'synthetic:{LAST_DAY}:99'"
KINDS = ("frames", "read_sql")


class Measurement(NamedTuple):
    """`peak_mb`: growth of the resident memory; `frame_mb`: memory_usage(deep=True)."""

    seconds: float
    peak_mb: float
    frame_mb: float
    rows: int


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.frames", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--measure", choices=KINDS, help=argparse.SUPPRESS)
    parser.add_argument("--data-dir", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(READS[options.measure](options.data_dir)))
        return
    with tempfile.TemporaryDirectory(prefix="bench-frames-") as folder:
        settings = Settings(data_dir=Path(folder) / "data")
        with open_database(settings) as access:
            prepare(access, settings)
            with access.connect() as connection:
                for statement in FILL.split(";\n"):
                    connection.execute(statement.encode())
                connection.execute("VACUUM ANALYZE")
            rounds = [{kind: in_own_process(kind, settings.data_dir) for kind in KINDS} for _ in range(options.rounds)]
    print(report(rounds))


def in_own_process(kind: str, data_dir: Path) -> Measurement:
    command = [sys.executable, "-m", "bench.frames", "--measure", kind, "--data-dir", str(data_dir)]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return Measurement(*json.loads(output))


def read_by_frames(data_dir: Path) -> Measurement:
    from headrace.frames import connect  # noqa: PLC0415 - a process imports only what it measures

    with connect(data_dir=data_dir) as hr:
        hr.predictions("2031-01-01", columns=["slot"])
        return measured(lambda: hr.predictions(to_day=LAST_DAY))


def read_by_read_sql(data_dir: Path) -> Measurement:
    import pandas as pd  # noqa: PLC0415

    server = EmbeddedPostgres(data_dir)
    warnings.filterwarnings("ignore", message="pandas only supports SQLAlchemy")
    with psycopg.connect(server.url_with_password(READER), options="-c search_path=analytics") as connection:
        pd.read_sql("SELECT * FROM predictions LIMIT 10", connection)
        return measured(lambda: pd.read_sql(SQL, connection))


READS: dict[str, Callable[[Path], Measurement]] = {"frames": read_by_frames, "read_sql": read_by_read_sql}


def measured(read: Callable[[], object]) -> Measurement:
    import pandas as pd  # noqa: PLC0415

    before_kb, began_s = resident_kb(), time.perf_counter()
    frame = read()
    seconds, after_kb = time.perf_counter() - began_s, peak_kb()
    assert isinstance(frame, pd.DataFrame)
    return Measurement(seconds, (after_kb - before_kb) / 1024, frame.memory_usage(deep=True).sum() / 2**20, len(frame))


def resident_kb() -> int:
    """Resident memory of this process now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() // 1024


def peak_kb() -> int:
    """The highest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def report(rounds: list[dict[str, Measurement]]) -> str:
    ratio = statistics.median(each["read_sql"].seconds / each["frames"].seconds for each in rounds)
    lines = [f"{len(rounds)} rounds, medians", "", "| | rows | seconds | peak MB | frame MB | peak / frame |"]
    lines.append("|-|-|-|-|-|-|")
    for kind in KINDS:
        columns = zip(*(each[kind] for each in rounds), strict=True)
        seconds, peak, size, rows = (statistics.median(values) for values in columns)
        lines.append(f"| {kind} | {rows:,.0f} | {seconds:.2f} | {peak:.0f} | {size:.0f} | {peak / size:.1f} |")
    return "\n".join([*lines, "", f"frames are {ratio:.1f} times as fast (median of the rounds' ratios)"])


if __name__ == "__main__":
    main()
