"""`python -m bench.cadence`: how old a change is when its record is appended, on a recorded live day, by cadence.

The fetcher's planning fetches the versions that the manifest of the day names, on a virtual clock that moves from one
due time to the next. A fetch takes no time. `--cadence KEY=VALUE` overrides a key of the declaration's `cadence`.
"""

from __future__ import annotations

import argparse
import gzip
import os
import statistics
from bisect import bisect_right
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from services.fetcher.fetch_window import FetchWindow
from services.fetcher.planning.windows import DAY, DueWindow, FetchPlan
from services.fetcher.progress import FetchProgress
from services.fetcher.sources.declaration import Source
from services.fetcher.sources.documents import Absence, Document
from services.fetcher.sources.yaml_file import load_source
from shared.retry import Retry

ROOT = Path(__file__).parents[1]
ARCHIVE = Path(os.environ.get("HEADRACE_BOATRACE", ROOT.parent / "shared" / "data" / "boatrace"))
DAY_S = 86_400
PERCENTILES = 20


class Version(NamedTuple):
    """One version of a feed's newest document, published at `at`."""

    at: datetime
    path: Path
    tag: str


class ManifestSource:
    """A DocumentSource that serves the newest version at the time of `now`. Counts requests."""

    def __init__(self, folder: Path) -> None:
        self.now = datetime.min.replace(tzinfo=UTC)
        self.requests = 0
        self.versions: dict[str, list[Version]] = {}
        for entry in orjson.loads((folder / "manifest.json").read_bytes())["versions"]:
            at, path = datetime.fromisoformat(entry["utc"]), folder / Path(entry["file"]).name
            self.versions.setdefault(entry["feed"], []).append(Version(at, path, entry["sha256"]))

    def fetch(self, due: DueWindow, etag: str | None) -> Document | Absence:
        self.requests += 1
        versions = self.versions[due.window.feed]
        number = bisect_right([each.at for each in versions], self.now)
        if not number:
            return Absence.NOT_PUBLISHED
        version = versions[number - 1]
        if version.tag == etag:
            return Absence.UNCHANGED
        body = gzip.decompress(version.path.read_bytes())
        return Document(
            due.window.feed, due.window.date, str(version.path), body, self.now, version.at, version.tag, due.historical
        )

    def close(self) -> None:
        """Nothing is open."""


class NoArchive:
    """A DocumentStore that stores nothing."""

    def put(self, document: Document) -> None:
        pass

    def read(self, hash_: str) -> bytes:
        raise NotImplementedError(hash_)


class Measured(NamedTuple):
    """Ages in seconds of each version that was published on the day, and of each record."""

    requests: int
    versions: list[float]
    records: list[float]
    skipped: int


def measure(source: Source, documents: ManifestSource, day: date) -> Measured:
    progress = FetchProgress(source, FetchPlan(follow=True))
    fetch_window = FetchWindow(source, documents, NoArchive(), Retry(tries=1))
    now = datetime(day.year, day.month, day.day, tzinfo=source.zone)
    end = now + DAY
    seen = dict.fromkeys(documents.versions, now)
    documents.requests, versions, records, skipped = 0, [], [], 0
    while now < end:
        documents.now = now
        for due in progress.take_live(now):
            outcome = fetch_window(due, progress.cursor(due.window))
            progress.record_outcome(outcome, now)
            feed = due.window.feed
            new = [each.at for each in documents.versions[feed] if seen[feed] < each.at <= now]
            seen[feed] = now
            versions += [(now - at).total_seconds() for at in new]
            skipped += max(0, len(new) - 1)
            records += [(now - new[-1]).total_seconds() for _ in outcome.records if new]
        next_at = progress.next_live_at(now)
        now = max(now + timedelta(seconds=1), end if next_at is None else next_at)
    return Measured(documents.requests, versions, records, skipped)


def text_of(name: str, measured: Measured) -> str:
    ages = "  ".join(
        f"{kind} {len(each):,}: median {statistics.median(each):.0f} s, p95 {p95(each):.0f} s"
        for kind, each in (("versions", measured.versions), ("records", measured.records))
    )
    return f"{name:<10} {measured.requests:>5} requests  {ages}  {measured.skipped} versions skipped"


def p95(ages: Sequence[float]) -> float:
    return statistics.quantiles(ages, n=PERCENTILES)[-1]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.cadence", description=__doc__)
    parser.add_argument("--live", type=Path, default=ARCHIVE / "live" / "2026-01-31", help="default: %(default)s")
    parser.add_argument("--source", default="boatrace", help="default: %(default)s")
    parser.add_argument("--cadence", action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args()
    source, documents, day = (
        load_source(options.source),
        ManifestSource(options.live),
        date.fromisoformat(options.live.name),
    )
    overrides: dict[str, Any] = {
        key: float(value) for key, _, value in (each.partition("=") for each in options.cadence)
    }
    if source.cadence is None:
        parser.error(f"source {source.name} declares no cadence")
    adaptive = source.model_copy(update={"cadence": source.cadence.model_copy(update=overrides)})
    fixed = source.model_copy(update={"cadence": None})
    print(text_of(f"{source.live.poll_interval_s:g} s fixed", measure(fixed, documents, day)))
    print(text_of("adaptive", measure(adaptive, documents, day)))


if __name__ == "__main__":
    main()
