"""After each commit, everything that the committed cursors rely on would survive a power cut."""

from __future__ import annotations

import threading
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from services.fetcher.archive.store import DocumentArchive
from services.fetcher.fetch import Fetcher
from services.fetcher.http.source import HttpSource
from services.fetcher.planning.cursor import decode
from services.fetcher.planning.windows import FetchPlan, window_of
from services.fetcher.sources.documents import Document
from shared.errors import InvalidDocument, TransientError
from tests.services.fetcher.archive.power_cut import PowerCutFiles
from tests.services.fetcher.site import Site
from tests.services.fetcher.synthetic_documents import (
    DAY,
    FetcherDriver,
    SettableClock,
    body,
    document,
    event,
    made_source,
)

FEEDS = ("cards", "looks", "ends")
ONE = timedelta(days=1)


class ForgetfulArchive(DocumentArchive):
    """An archive that never syncs."""

    def sync(self) -> None:
        pass


def lost_documents(cursors: dict[str, bytes], folder: Path) -> set[str]:
    """The windows of committed cursors whose last document is not in the archive, as index line and as body."""
    archive = DocumentArchive(folder)
    stored = {(line.feed, line.date, line.hash) for line in archive.documents()}
    lost = set()
    for key, value in cursors.items():
        window, hash_ = window_of(key, "meadow"), decode(value).document
        if window is None or hash_ is None:
            continue
        try:
            archive.read(hash_)
        except InvalidDocument:
            lost.add(key)
        if (window.feed, window.date, hash_) not in stored:
            lost.add(key)
    return lost


def run_days(site: Site, archive: DocumentArchive, files: PowerCutFiles, root: Path) -> tuple[int, set[str]]:
    """Fetch four past days and two versions of the current one, and cut the power after each commit. Returns the number
    of commits, and the windows that were lost after one of them."""
    for feed in FEEDS:
        for number in range(4):
            day = DAY - (number + 1) * ONE
            site.pages[f"/{feed}/{day:%Y%m%d}.json"] = body(feed, [event(1, day), event(2, day)])
    clock = SettableClock()
    source = made_source(site.url)
    fetcher = Fetcher(
        source, HttpSource(source, clock), archive, FetchPlan(DAY - 4 * ONE, follow=True), clock, batch_records=4
    )
    commits, lost = 0, set()
    with closing(fetcher):
        run = FetcherDriver(fetcher)
        for wind in (1, 2):
            for feed in FEEDS:
                site.pages[f"/{feed}/today.json"] = body(feed, [event(1, wind=wind)])
            while run.step(0.02) is not None or fetcher.status()["windows"]["due"]:
                commits += 1
                lost |= lost_documents(run.cursors, files.cut(root / f"cut-{commits}") / "archive")
            clock.at += timedelta(seconds=120)
    assert {decode(value).state for value in run.cursors.values()} == {"done", "live"}
    return commits, lost


def test_what_committed_cursors_rely_on_survives_a_power_cut(tmp_path: Path, site: Site) -> None:
    files = PowerCutFiles(tmp_path)

    commits, lost = run_days(site, DocumentArchive(tmp_path / "archive", files=files), files, tmp_path)

    assert commits >= 5
    assert lost == set()


def test_an_archive_that_does_not_sync_loses_documents(tmp_path: Path, site: Site) -> None:
    files = PowerCutFiles(tmp_path)

    _, lost = run_days(site, ForgetfulArchive(tmp_path / "archive", files=files), files, tmp_path)

    assert len(lost) == 3 * 5


def test_documents_of_a_process_that_ended_before_it_synced_are_synced_by_the_next(tmp_path: Path) -> None:
    files = PowerCutFiles(tmp_path)
    stored = document("cards", [event(1)])
    DocumentArchive(tmp_path / "archive", files=files).put(stored)
    archive = DocumentArchive(tmp_path / "archive", files=files)

    archive.put(stored)
    archive.sync()

    after = DocumentArchive(files.cut(tmp_path / "cut") / "archive")
    assert [line.hash for line in after.documents()] == [stored.hash]
    assert after.read(stored.hash) == stored.body


def test_a_body_that_a_power_cut_damaged_is_written_again(tmp_path: Path) -> None:
    files = PowerCutFiles(tmp_path)
    stored = document("cards", [event(1)])
    DocumentArchive(tmp_path / "archive", files=files).put(stored)
    path = tmp_path / "archive" / stored.hash[:2] / f"{stored.hash[2:]}.zst"
    path.write_bytes(b"")

    archive = DocumentArchive(tmp_path / "archive", files=files)
    archive.put(stored)
    archive.sync()

    after = DocumentArchive(files.cut(tmp_path / "cut") / "archive")
    assert after.read(stored.hash) == archive.read(stored.hash) == stored.body


def test_a_failed_sync_is_repeated(tmp_path: Path) -> None:
    class FailingFiles(PowerCutFiles):
        failures = 1

        def sync(self, path: Path) -> None:
            if self.failures:
                self.failures -= 1
                raise OSError(28, "No space left on device")
            super().sync(path)

    files = FailingFiles(tmp_path)
    archive, stored = DocumentArchive(tmp_path / "archive", files=files), document("cards", [event(1)])
    archive.put(stored)

    with pytest.raises(TransientError, match=r"cannot sync the archive .*No space left"):
        archive.sync()
    archive.sync()

    assert DocumentArchive(files.cut(tmp_path / "cut") / "archive").read(stored.hash) == stored.body


def test_threads_that_store_while_another_syncs_lose_nothing(tmp_path: Path) -> None:
    files = PowerCutFiles(tmp_path)
    archive = DocumentArchive(tmp_path / "archive", files=files)
    stored = [document("cards", [event(1, DAY + number * ONE)], DAY + number * ONE) for number in range(40)]
    ended = threading.Event()

    def store(documents: list[Document]) -> None:
        for each in documents:
            archive.put(each)

    def sync() -> None:
        while not ended.is_set():
            archive.sync()

    writers = [threading.Thread(target=store, args=(stored[first::4],)) for first in range(4)]
    syncer = threading.Thread(target=sync)
    for thread in (syncer, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    ended.set()
    syncer.join()
    archive.sync()

    after = DocumentArchive(files.cut(tmp_path / "cut") / "archive")
    assert {line.hash for line in after.documents()} == {each.hash for each in stored}
