"""Parses the records from memory and COPYs the newest of each key into keyed tables, without a broker and versions.

It is the upper limit of `make bench-load`: one transaction, no resumption, and each key is written once.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import orjson
import psycopg

from bench.load.records import make_records

COLUMNS = ("event_key", "source", "session_key", "number", "scheduled_at", "distance_m", "known_at", "document_hash")


def main() -> None:
    bodies = [record.value for record in make_records(int(os.environ["LOAD_RECORDS"]))]
    with psycopg.connect("") as connection:
        connection.execute("CREATE TABLE sessions (session_key text PRIMARY KEY, date date, venue integer)")
        connection.execute("ALTER TABLE events ADD FOREIGN KEY (session_key) REFERENCES sessions")
        connection.commit()
        Path(os.environ["LOAD_READY"]).touch()
        load(connection, bodies)


def load(connection: psycopg.Connection[Any], bodies: list[bytes]) -> None:
    sessions: dict[str, tuple[Any, ...]] = {}
    events: dict[str, tuple[Any, ...]] = {}
    for body in bodies:
        event = orjson.loads(body)
        session = event["session"]
        key = event["session_key"] = session["session_key"]
        sessions[key] = (key, session["date"], session["venue"])
        events[event["event_key"]] = tuple(event[name] for name in COLUMNS)
    with connection.transaction(), connection.cursor() as cursor:
        with cursor.copy("COPY sessions FROM STDIN") as copy:
            for row in sessions.values():
                copy.write_row(row)
        with cursor.copy(f"COPY events ({', '.join(COLUMNS)}) FROM STDIN") as copy:
            for row in events.values():
                copy.write_row(row)


if __name__ == "__main__":
    main()
