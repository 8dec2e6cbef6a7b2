"""Parses the same files and COPYs the same rows in one process, without a broker and without guarantees.

It is the baseline of `make bench`: no version history, no keys, no constraints, no resumption.
"""

from __future__ import annotations

import gzip
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import psycopg

from services.fetcher.sources.archive_files import recorded_files

LAYOUT = "v2/{feed}/{date:%Y}/{date:%Y%m%d}.json.gz"
TABLES = {
    "events": "key text, number int, closed_at text, title text, distance int",
    "sessions": "key text, title text, grade int",
    "entities": "number int, name text",
    "entries": "key text, slot int, entity int, measures jsonb",
    "observations": "key text, slot int, course int, measures jsonb",
    "outcomes": "key text, slot int, place int, code int, course int, timing double precision",
    "transactions": "key text, market text, selection text, amount int, ordinal int",
}


def key_of(race: dict[str, Any]) -> str:
    return f"{race['race_date']}:{race['race_stadium_number']:02d}:{race['race_number']:02d}"


def rows_of_program(race: dict[str, Any]) -> Iterator[tuple[str, tuple[Any, ...]]]:
    key = key_of(race)
    yield "events", (key, race["race_number"], race["race_closed_at"], race["race_subtitle"], race["race_distance"])
    for boat in race["boats"]:
        measures = orjson.dumps({name: value for name, value in boat.items() if name.startswith("racer_")}).decode()
        yield "entries", (key, boat["racer_boat_number"], boat["racer_number"], measures)


def rows_of_preview(race: dict[str, Any]) -> Iterator[tuple[str, tuple[Any, ...]]]:
    boats = race["boats"]
    for boat in boats.values() if isinstance(boats, dict) else boats:
        measures = orjson.dumps(boat).decode()
        yield "observations", (key_of(race), boat["racer_boat_number"], boat["racer_course_number"], measures)


def rows_of_result(race: dict[str, Any]) -> Iterator[tuple[str, tuple[Any, ...]]]:
    key = key_of(race)
    for boat in race["boats"]:
        code = boat["racer_place_number"]
        if code is not None:
            place, reason = (code, None) if code <= 6 else (None, code)
            yield (
                "outcomes",
                (
                    key,
                    boat["racer_boat_number"],
                    place,
                    reason,
                    boat["racer_course_number"],
                    boat["racer_start_timing"],
                ),
            )
    for market, paid in race["payouts"].items():
        for ordinal, row in enumerate(paid, 1):
            yield "transactions", (key, market, row["combination"], row["payout"], ordinal)


FEEDS = {"programs": rows_of_program, "previews": rows_of_preview, "results": rows_of_result}


def load(archive: Path, url: str) -> dict[str, int]:
    """Load the archive. Returns the number of rows per table."""
    rows: dict[str, list[tuple[Any, ...]]] = {name: [] for name in TABLES}
    sessions: dict[str, tuple[Any, ...]] = {}
    entities: dict[int, tuple[Any, ...]] = {}
    counts = dict.fromkeys(TABLES, 0)
    with psycopg.connect(url) as connection:
        for name, columns in TABLES.items():
            connection.execute(f"CREATE TEMP TABLE bare_{name} ({columns})")
        for feed, rows_of in FEEDS.items():
            for path in recorded_files(archive, LAYOUT, feed, datetime.now(UTC).year).values():
                for race in orjson.loads(gzip.decompress((archive / path).read_bytes()))[feed]:
                    for table, row in rows_of(race):
                        rows[table].append(row)
                    if feed == "programs":
                        session = key_of(race)[:13]
                        sessions[session] = (session, race["race_title"], race["race_grade_number"])
                        entities |= {b["racer_number"]: (b["racer_number"], b["racer_name"]) for b in race["boats"]}
                _copy(connection, rows, counts)
        rows["sessions"], rows["entities"] = list(sessions.values()), list(entities.values())
        _copy(connection, rows, counts)
    return counts


def _copy(connection: psycopg.Connection[Any], rows: dict[str, list[tuple[Any, ...]]], counts: dict[str, int]) -> None:
    for name, table_rows in rows.items():
        if table_rows:
            with connection.cursor() as cursor, cursor.copy(f"COPY bare_{name} FROM STDIN") as copy:
                for row in table_rows:
                    copy.write_row(row)
            counts[name] += len(table_rows)
            rows[name] = []


if __name__ == "__main__":
    started = time.perf_counter()
    row_count = load(Path(sys.argv[1]), sys.argv[2])
    print(orjson.dumps({"rows": row_count, "seconds": time.perf_counter() - started}).decode())
