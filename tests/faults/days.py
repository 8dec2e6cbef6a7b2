"""The documents of a run: recorded days, thinned out to some venues, or made-up ones where no recording is there.

Written into a temporary archive in the layout of the recorded one, and gone with it.
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

Find = Callable[[str, date], bytes | None]


def write_archive(folder: Path, history: list[date], upcoming: date, venues: int) -> bool:
    """The days of `history` whole, `upcoming` without its results; whether they are recorded ones."""
    recorded = recording()
    find = made_up(history, upcoming, venues) if recorded is None else recorded_in(recorded)
    for day in [*history, upcoming]:
        chosen: list[int] = []
        for feed in FEEDS[: 2 if day == upcoming else 3]:
            body = find(feed, day)
            if body is None:
                continue
            races = orjson.loads(body)[feed]
            chosen = chosen or sorted({race["race_stadium_number"] for race in races})[:venues]
            _write(folder, feed, day, [race for race in races if race["race_stadium_number"] in chosen])
    return recorded is not None


def path_of(folder: Path, feed: str, day: date) -> Path:
    return folder / "v2" / feed / f"{day:%Y}" / f"{day:%Y%m%d}.json.gz"


def morning(day: date) -> datetime:
    """Before any event of the day starts."""
    return datetime.combine(day, time(5), JAPAN).astimezone(UTC)


def recorded_in(directory: Path) -> Find:
    def find(feed: str, day: date) -> bytes | None:
        file = path_of(directory, feed, day)
        return gzip.decompress(file.read_bytes()) if file.exists() else None

    return find


def made_up(history: list[date], upcoming: date, venues: int) -> Find:
    """What a simulated source published of those days in the end."""
    numbers = tuple(range(1, venues + 1))
    season = SimulatedSeason(
        SeasonPlan(first_date=history[0], days=len(history) + 1, venues=numbers, races_per_venue=12)
    )
    publisher = Publisher(season, PublicationSchedule())
    later = datetime.combine(upcoming, time(), UTC) + timedelta(days=3)

    def find(feed: str, day: date) -> bytes | None:
        page = publisher.page(f"/{feed}/v2/{day:%Y/%Y%m%d}.json", later)
        return None if page is None else page.body

    return find


def _write(folder: Path, feed: str, day: date, races: list[object]) -> None:
    file = path_of(folder, feed, day)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(gzip.compress(orjson.dumps({feed: races}), mtime=0))
