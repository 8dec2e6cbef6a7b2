"""Writes the documents of a run to a temporary archive: recorded days of some venues, or synthetic days if there is no
recording.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone
from pathlib import Path

import orjson

from simulator.publisher import Publisher
from simulator.season import SeasonPlan, SimulatedSeason
from simulator.stages import PublicationSchedule
from tests.recorded_days import recording

FEEDS = ("programs", "previews", "results")
JAPAN = timezone(timedelta(hours=9))

ReadDocument = Callable[[str, date], bytes | None]


def write_archive(folder: Path, history: list[date], upcoming: date, venues: int) -> bool:
    """Write the days of `history`, and `upcoming` without results. Returns whether they are recorded days."""
    recorded = recording()
    read_document = synthetic_documents(history, upcoming, venues) if recorded is None else recorded_documents(recorded)
    for day in [*history, upcoming]:
        venue_numbers: list[int] = []
        for feed in FEEDS[: 2 if day == upcoming else 3]:
            body = read_document(feed, day)
            if body is None:
                continue
            races = orjson.loads(body)[feed]
            venue_numbers = venue_numbers or sorted({race["race_stadium_number"] for race in races})[:venues]
            _write(folder, feed, day, [race for race in races if race["race_stadium_number"] in venue_numbers])
    return recorded is not None


def path_of(folder: Path, feed: str, day: date) -> Path:
    return folder / "v2" / feed / f"{day:%Y}" / f"{day:%Y%m%d}.json.gz"


def morning(day: date) -> datetime:
    """Before any event of the day starts."""
    return datetime.combine(day, time(5), JAPAN).astimezone(UTC)


def recorded_documents(directory: Path) -> ReadDocument:
    def read_document(feed: str, day: date) -> bytes | None:
        file = path_of(directory, feed, day)
        return gzip.decompress(file.read_bytes()) if file.exists() else None

    return read_document


def synthetic_documents(history: list[date], upcoming: date, venues: int) -> ReadDocument:
    """The documents of these days in the final state of a simulated source."""
    numbers = tuple(range(1, venues + 1))
    season = SimulatedSeason(
        SeasonPlan(first_date=history[0], days=len(history) + 1, venues=numbers, races_per_venue=12)
    )
    publisher = Publisher(season, PublicationSchedule())
    published_at = datetime.combine(upcoming, time(), UTC) + timedelta(days=3)

    def read_document(feed: str, day: date) -> bytes | None:
        page = publisher.page(f"/{feed}/v2/{day:%Y/%Y%m%d}.json", published_at)
        return None if page is None else page.body

    return read_document


def _write(folder: Path, feed: str, day: date, races: list[object]) -> None:
    file = path_of(folder, feed, day)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(gzip.compress(orjson.dumps({feed: races}), mtime=0))
