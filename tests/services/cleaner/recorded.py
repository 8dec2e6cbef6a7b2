"""The recorded days of the real source, read where they lie; nothing of them is part of the project.

They are looked for in ../shared/data/boatrace beside the repository, or where HEADRACE_BOATRACE says.
"""

import gzip
import json
import os
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from shared.events import RawEvent, event_key_of

FEEDS = ("programs", "previews", "results")
FIRST, LAST = date(2025, 7, 15), date(2026, 3, 31)


def directory() -> Path:
    """Where the recorded days lie. Skips the test where they do not."""
    beside = Path(__file__).parents[3].parent / "shared" / "data" / "boatrace"
    found = Path(os.environ.get("HEADRACE_BOATRACE", beside))
    if not (found / "v2").is_dir():
        pytest.skip(f"no recorded days in {found}: set HEADRACE_BOATRACE to the directory that holds v2/ and live/")
    return found


def _races(path: Path, feed: str) -> list[dict[str, Any]]:
    races: list[dict[str, Any]] = orjson.loads(gzip.decompress(path.read_bytes()))[feed]
    return races


def _raw(feed: str, race: dict[str, Any], at: datetime, historical: bool) -> RawEvent:
    # Not validated: the body is any object, and the rest is ours. This halves the time of 118,080 slices.
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
    """Every race of a feed, day by day, as read from an archive."""
    v2, at = directory() / "v2" / feed, datetime(2026, 4, 2, tzinfo=UTC)
    for offset in range((LAST - FIRST).days + 1):
        day = FIRST + timedelta(days=offset)
        for race in _races(v2 / f"{day:%Y}" / f"{day:%Y%m%d}.json.gz", feed):
            yield _raw(feed, race, at, historical=True)


def live() -> Iterator[tuple[int, RawEvent]]:
    """Every race of every version that was public on 2026-01-31, in the order of publication, with its `seq`."""
    folder = directory() / "live" / "2026-01-31"
    for version in json.loads((folder / "manifest.json").read_text())["versions"]:
        at = datetime.fromisoformat(version["utc"])
        for race in _races(folder / version["file"], version["feed"]):
            yield version["seq"], _raw(version["feed"], race, at, historical=False)
