"""Synthetic documents of a synthetic source, a settable clock, and a driver that runs steps like the poller loop."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from services.fetcher.fetch import Fetcher
from services.fetcher.planning.cursor import WindowCursor, decode
from services.fetcher.sources.declaration import Source, source_of
from services.fetcher.sources.documents import Document
from shared.broker.contract import NewRecord
from shared.events import RawEvent
from shared.topics import RAW
from tests.waiting import DEADLINE_S

DAY = date(2031, 5, 4)
NOON = datetime(2031, 5, 4, 3, 0, tzinfo=UTC)
"""Noon of DAY in the source's time zone (UTC+9)."""


def made_source(base_url: str = "http://127.0.0.1:9", **overrides: Any) -> Source:
    feeds = [
        {"name": name, "dated": f"/{name}/{{date:%Y%m%d}}.json", "today": f"/{name}/today.json", "events": name}
        for name in ("cards", "looks", "ends")
    ]
    feeds[2]["close"] = "reemit-first"
    return source_of(
        {
            "name": "meadow",
            "base_url": base_url,
            "time_zone": "Asia/Tokyo",
            "feeds": feeds,
            "identity": {"date": "day", "venue": "track", "number": "heat"},
            "archive": "v2/{feed}/{date:%Y}/{date:%Y%m%d}.json.gz",
            "live": {"poll_interval_s": 60, "close_after_s": 600},
            "http": {"connect_timeout_s": 2, "read_timeout_s": 2, "total_timeout_s": 5, "max_body_bytes": 1_000_000},
            "retry": {"tries": 3, "first_delay_s": 0.001, "max_delay_s": 0.002},
        }
        | overrides,
        "made.yaml",
    )


def event(number: int, day: date = DAY, track: int = 3, **fields: Any) -> dict[str, Any]:
    return {"day": day.isoformat(), "track": track, "heat": number, **fields}


def body(feed: str, events: Iterable[Any]) -> bytes:
    return json.dumps({feed: list(events)}, separators=(",", ":")).encode()


def document(feed: str, events: Iterable[Any], day: date = DAY, historical: bool = False) -> Document:
    return Document(feed, day, f"/{feed}/{day:%Y%m%d}.json", body(feed, events), NOON, historical=historical)


def record_file(folder: Path, feed: str, day: date, content: bytes) -> Path:
    """Writes a file of a recorded archive."""
    path = folder / "v2" / feed / f"{day:%Y}" / f"{day:%Y%m%d}.json.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content, mtime=0))
    return path


def raw_events(records: Iterable[NewRecord]) -> list[RawEvent]:
    return [RawEvent.model_validate_json(record.value) for record in records if record.topic == RAW]


def event_ids(records: Iterable[NewRecord]) -> list[str]:
    return [record.headers["event_id"].decode() for record in records]


class SettableClock:
    """Shows the time that a test sets."""

    def __init__(self, at: datetime = NOON) -> None:
        self.at = at

    def now(self) -> datetime:
        return self.at


class FetcherDriver:
    """Drives a fetcher as the poller loop does: commits a step's cursors before it asks for the next step."""

    def __init__(self, fetcher: Fetcher, cursors: dict[str, bytes] | None = None) -> None:
        self.fetcher = fetcher
        self.cursors = {} if cursors is None else cursors
        self.records: list[NewRecord] = []
        fetcher.load(self.cursors)

    def step(self, timeout_s: float = DEADLINE_S) -> list[NewRecord] | None:
        step = self.fetcher.next(timeout_s)
        if step is None:
            return None
        self.cursors.update(step.cursors)
        self.records += step.records
        return step.records

    def until_exhausted(self) -> list[NewRecord]:
        for _ in range(1000):
            if self.fetcher.status()["exhausted"]:
                return self.records
            self.step(0.05)
        raise AssertionError(f"not exhausted: {self.fetcher.status()}")

    def run_due_windows(self) -> list[NewRecord]:
        """Runs steps until no window is due, and returns their records."""
        before = len(self.records)
        while self.step(0.02) is not None or self.fetcher.status()["windows"]["due"]:
            pass
        return self.records[before:]

    def cursor(self, feed: str, day: date = DAY) -> WindowCursor:
        return decode(self.cursors[f"meadow/{feed}/{day.isoformat()}"])

    def failed(self) -> dict[str, str]:
        return {each["window"]: each["error"] for each in self.fetcher.status()["failed"]}
