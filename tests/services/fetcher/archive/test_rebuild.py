"""Rebuilding the records of a day from the archive of documents."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from services.fetcher.archive.rebuild import Recapture, lines_by_window
from services.fetcher.archive.source import ArchivedSource
from services.fetcher.archive.store import DocumentArchive
from services.fetcher.fetch import Fetcher
from services.fetcher.http.source import HttpSource
from services.fetcher.planning.coverage import coverage_text
from services.fetcher.planning.cursor import decode
from services.fetcher.planning.windows import FetchPlan, Window
from tests.services.fetcher.site import Site
from tests.services.fetcher.synthetic_documents import (
    DAY,
    NOON,
    FetcherDriver,
    SettableClock,
    body,
    document,
    event,
    event_ids,
    made_source,
)

FEEDS = ("cards", "looks", "ends")
ONE = timedelta(days=1)


def publish(site: Site, feed: str, **fields: Any) -> None:
    page = body(feed, [event(number, DAY, **fields) for number in (1, 2)])
    site.pages[f"/{feed}/today.json"] = site.pages[f"/{feed}/{DAY:%Y%m%d}.json"] = page


@pytest.fixture
def live_day(tmp_path: Path, site: Site) -> FetcherDriver:
    """A fetched day: followed live, with documents that changed and changed back, and closed as history."""
    clock = SettableClock()
    source = made_source(site.url)
    fetcher = Fetcher(
        source, HttpSource(source, clock), DocumentArchive(tmp_path, source.name), FetchPlan(DAY, follow=True), clock
    )
    run = FetcherDriver(fetcher)
    for fields in ({}, {"wind": 3}, {}):
        for feed in FEEDS:
            publish(site, feed, **fields)
        run.run_due_windows()
        clock.at += timedelta(seconds=120)
    clock.at = NOON + timedelta(days=1)
    # Also waits for the responses of the next day's URLs, which are archived, too.
    while any(run.cursor(feed).state != "done" for feed in FEEDS) or fetcher.status()["windows"]["due"]:
        run.step(0.05)
    fetcher.close()
    return run


def test_the_archive_gives_the_same_records_as_the_live_day(live_day: FetcherDriver, tmp_path: Path) -> None:
    archive, source = DocumentArchive(tmp_path), made_source()
    recapture = Recapture(source, archive.read)

    windows = [recapture(window, entries) for window, entries in lines_by_window(archive.documents(), source).items()]

    rebuilt = {record.headers["event_id"]: record for each in windows for record in each.records}
    original = {record.headers["event_id"]: record for record in live_day.records}
    assert len(live_day.records) == len(original) == 3 * 2 * 3 + 2
    assert rebuilt.keys() == original.keys()
    assert all(rebuilt[event_id].key == original[event_id].key for event_id in original)


def test_an_archived_source_ends_and_continues_from_its_cursors(live_day: FetcherDriver, tmp_path: Path) -> None:
    def archived_source() -> ArchivedSource:
        return ArchivedSource(made_source(), DocumentArchive(tmp_path), SettableClock(), None, None, batch_records=1)

    first = archived_source()
    cursors: dict[str, bytes] = {}
    first.load(cursors)
    step = first.next(0.05)
    assert step is not None
    cursors |= step.cursors
    second = archived_source()
    run = FetcherDriver(second, cursors)  # type: ignore[arg-type]  # driven like a fetcher

    run.until_exhausted()

    assert sorted(event_ids([*step.records, *run.records])) == sorted(event_ids(live_day.records))
    assert second.status() == {  # the next day's URL still had the previous day, which is not archived again
        "windows": {"due": 0, "done": 3, "failed": 0, "missing": 0, "suspect": 0},
        "failed": [],
        "exhausted": True,
        "days": {"asked": 1, "found": 1, "missing": [], "more_gaps": 0},
    }


def test_days_and_sources_that_are_not_selected_are_left_out(tmp_path: Path) -> None:
    ours, others = DocumentArchive(tmp_path, "meadow"), DocumentArchive(tmp_path, "forest")
    for number in range(3):
        ours.put(replace(document("cards", [event(number)]), date=DAY + timedelta(days=number)))
    others.put(document("cards", [event(9)]))

    lines = lines_by_window(ours.documents(), made_source(), DAY, DAY + timedelta(days=1))

    assert list(lines) == [Window("cards", DAY), Window("cards", DAY + timedelta(days=1))]
    assert [len(entries) for entries in lines.values()] == [1, 1]


def test_days_without_a_document_are_named(tmp_path: Path) -> None:
    archive = DocumentArchive(tmp_path)
    for number in (0, 2):
        archive.put(document("cards", [event(1, DAY + number * ONE)], DAY + number * ONE))
    source = ArchivedSource(made_source(), archive, SettableClock(), DAY, DAY + 3 * ONE, batch_records=100)
    run = FetcherDriver(source)  # type: ignore[arg-type]  # driven like a fetcher

    run.until_exhausted()

    assert coverage_text(source.status()["days"]) == "2 of 4; none for 2031-05-05, 2031-05-07"


def test_an_archive_without_documents_has_no_days(tmp_path: Path) -> None:
    source = ArchivedSource(made_source(), DocumentArchive(tmp_path), SettableClock(), None, None, batch_records=100)
    run = FetcherDriver(source)  # type: ignore[arg-type]  # driven like a fetcher

    run.until_exhausted()

    assert "days" not in source.status()


def test_a_damaged_document_fails_only_its_window(tmp_path: Path) -> None:
    archive = DocumentArchive(tmp_path)
    for number in (1, 2):
        archive.put(document("cards", [event(number)]))
    archive.put(document("looks", [event(1)]))
    damaged = next(archive.documents()).hash
    (tmp_path / damaged[:2] / f"{damaged[2:]}.zst").write_bytes(b"not compressed")
    source = ArchivedSource(made_source(), archive, SettableClock(), None, None, batch_records=100)
    run = FetcherDriver(source)  # type: ignore[arg-type]  # driven like a fetcher

    run.until_exhausted()

    assert len(run.records) == 2
    assert [each["window"] for each in source.status()["failed"]] == [f"meadow/cards/{DAY}"]
    assert damaged in str(decode(run.cursors[f"meadow/cards/{DAY}"]).error)


def test_a_body_behind_a_broken_link_fails_its_window_with_the_name_of_the_link(tmp_path: Path) -> None:
    archive = DocumentArchive(tmp_path)
    archive.put(document("cards", [event(1)]))
    archive.put(document("looks", [event(1)]))
    folder = tmp_path / next(archive.documents()).hash[:2]
    folder.rename(tmp_path / "moved")
    folder.symlink_to("nowhere")
    run = FetcherDriver(ArchivedSource(made_source(), archive, SettableClock(), None, None, batch_records=100))  # type: ignore[arg-type]

    run.until_exhausted()

    assert len(run.records) == 1
    assert f"{folder} is a broken symbolic link (to nowhere)" in run.failed()[f"meadow/cards/{DAY}"]


def test_an_unexpected_error_fails_only_its_window(tmp_path: Path) -> None:
    archive = DocumentArchive(tmp_path)
    archive.put(document("cards", [event(1)]))
    archive.put(document("looks", [event(1)]))
    broken = next(archive.documents()).hash

    def read(hash_: str) -> bytes:
        if hash_ == broken:
            raise MemoryError("no room")
        return archive.read(hash_)

    recapture = Recapture(made_source(), read)
    windows = [
        recapture(window, entries) for window, entries in lines_by_window(archive.documents(), made_source()).items()
    ]

    assert [(each.cursor.state, len(each.records)) for each in windows] == [("failed", 0), ("done", 1)]
    assert windows[0].cursor.error == "unexpected MemoryError: no room"
