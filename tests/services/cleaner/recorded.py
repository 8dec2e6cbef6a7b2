"""The recorded days of the real source as raw events. tests/recorded_days.py names their folder."""

import gzip
import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson

from shared.events import RawEvent, event_key_of
from tests.recorded_days import directory

FEEDS = ("programs", "previews", "results")
FIRST, LAST = date(2025, 7, 15), date(2026, 3, 31)


def _races(path: Path, feed: str) -> list[dict[str, Any]]:
    races: list[dict[str, Any]] = orjson.loads(gzip.decompress(path.read_bytes()))[feed]
    return races


def _raw(feed: str, race: dict[str, Any], at: datetime, historical: bool) -> RawEvent:
    # Not validated: the body may be any object, the other fields are set here. This halves the time for 118,080 slices.
    key = event_key_of(
        "boatrace", date.fromisoformat(race["race_date"]), race["race_stadium_number"], race["race_number"]
    )
    return RawEvent.model_construct(
        source="boatrace",
        feed=feed,
        event_key=key,
        ordinal=1,
        document_hash="d" * 64,
        url="",
        fetched_at=at,
        published_at=None if historical else at,
        historical=historical,
        body=race,
    )


def archived(feed: str) -> Iterator[RawEvent]:
    """Every race of a feed, day by day, as if read from an archive."""
    v2, at = directory() / "v2" / feed, datetime(2026, 4, 2, tzinfo=UTC)
    for offset in range((LAST - FIRST).days + 1):
        day = FIRST + timedelta(days=offset)
        for race in _races(v2 / f"{day:%Y}" / f"{day:%Y%m%d}.json.gz", feed):
            yield _raw(feed, race, at, historical=True)


def live() -> Iterator[tuple[int, RawEvent]]:
    """Every race of every version published on 2026-01-31, in the order of publication, with the version's `seq`."""
    folder = directory() / "live" / "2026-01-31"
    for version in json.loads((folder / "manifest.json").read_text())["versions"]:
        at = datetime.fromisoformat(version["utc"])
        for race in _races(folder / version["file"], version["feed"]):
            yield version["seq"], _raw(version["feed"], race, at, historical=False)
