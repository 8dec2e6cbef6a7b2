"""Documents are removed from the archive by age, whole windows at a time, and never during a replay."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import httpx2
import psycopg
import pytest

from headrace.database.embedded import EmbeddedPostgres
from services.fetcher.api.router import FetcherApi
from services.fetcher.archive.retention import ArchiveRetention, Removal, remove_old, removed_windows
from services.fetcher.archive.store import DocumentArchive
from services.fetcher.archive.verify import Verification
from services.fetcher.planning.windows import FetchPlan, Window
from services.fetcher.settings import FetcherSettings
from services.fetcher.sources.documents import Document
from tests.services.endpoints import served, settings_of
from tests.services.fetcher.synthetic_documents import DAY, NOON, SettableClock, document, event, made_source
from tests.shared.runtime.api.admin_apps import assert_problem

ONE = timedelta(days=1)


def fetched(number: int, feed: str = "cards", **fields: int) -> Document:
    """The document of a day, fetched on that day."""
    day = DAY + number * ONE
    return replace(document(feed, [event(1, day, **fields)], day), fetched_at=NOON + number * ONE)


def filled(folder: Path, days: int = 4) -> list[Document]:
    archive, documents = DocumentArchive(folder, "meadow"), [fetched(number) for number in range(days)]
    for each in documents:
        archive.put(each)
    return documents


def days_of(folder: Path) -> list[int]:
    return [(line.date - DAY).days for line in DocumentArchive(folder).documents()]


def test_windows_are_removed_by_the_time_of_their_newest_document(tmp_path: Path) -> None:
    documents = filled(tmp_path)
    corrected = replace(fetched(0, wind=3), fetched_at=NOON + 3 * ONE)
    DocumentArchive(tmp_path, "meadow").put(corrected)

    removal = remove_old(tmp_path, NOON + 2 * ONE)

    assert (removal.windows, removal.documents, removal.bodies, removal.last_day) == (1, 1, 1, DAY + ONE)
    assert days_of(tmp_path) == [0, 2, 3, 0]
    assert not (tmp_path / documents[1].hash[:2] / f"{documents[1].hash[2:]}.zst").exists()
    assert list(Verification(tmp_path).findings()) == []
    assert removed_windows(tmp_path, made_source()) == {Window("cards", DAY + ONE)}


def test_nothing_is_written_if_nothing_is_too_old(tmp_path: Path) -> None:
    filled(tmp_path)
    before = {path: path.stat().st_ino for path in tmp_path.rglob("*")}

    assert remove_old(tmp_path, NOON) == Removal()
    assert remove_old(tmp_path / "nowhere", NOON) == Removal()
    assert {path: path.stat().st_ino for path in tmp_path.rglob("*")} == before


def test_a_body_that_another_window_names_is_kept(tmp_path: Path) -> None:
    archive, old = DocumentArchive(tmp_path), fetched(0)
    archive.put(old)
    archive.put(replace(old, date=DAY + ONE, fetched_at=NOON + ONE))

    removal = remove_old(tmp_path, NOON + ONE)

    assert (removal.documents, removal.bodies) == (1, 0)
    assert archive.read(old.hash) == old.body
    assert days_of(tmp_path) == [1]


def test_a_removed_window_that_is_fetched_again_is_archived_again(tmp_path: Path) -> None:
    archive = DocumentArchive(tmp_path, "meadow")
    old = fetched(0)
    archive.put(old)
    remove_old(tmp_path, NOON + ONE)

    archive.put(replace(old, fetched_at=NOON + 9 * ONE))

    assert archive.read(old.hash) == old.body
    assert days_of(tmp_path) == [0]
    assert removed_windows(tmp_path, made_source()) == set()


def test_documents_that_are_stored_during_the_removal_are_kept(tmp_path: Path) -> None:
    archive = DocumentArchive(tmp_path, "meadow")
    shared = document("cards", [event(1)])
    stored = [replace(shared, date=DAY + number * ONE, fetched_at=NOON + number * ONE) for number in range(200)]

    def store() -> None:
        for each in stored:
            archive.put(each)

    writer = threading.Thread(target=store)
    writer.start()
    while writer.is_alive():
        remove_old(tmp_path, NOON + 300 * ONE)
    writer.join()
    archive.put(replace(shared, date=DAY + 400 * ONE, fetched_at=NOON + 400 * ONE))

    remove_old(tmp_path, NOON + 300 * ONE)
    assert days_of(tmp_path) == [400]
    assert archive.read(shared.hash) == shared.body
    assert list(Verification(tmp_path).findings()) == []


@pytest.fixture
def settings(postgres: EmbeddedPostgres, database_url: str, tmp_path: Path) -> FetcherSettings:
    return settings_of(FetcherSettings, postgres, database_url, tmp_path)


@pytest.fixture
def client(settings: FetcherSettings) -> Iterator[httpx2.Client]:
    archive = DocumentArchive(settings.archive, "meadow")
    api = FetcherApi(made_source(), FetchPlan(), SettableClock(), archive)
    with served(settings, api.router) as client:
        yield client


def run_retention(settings: FetcherSettings) -> None:
    """One turn of the background task: 2 days, four days after the first document."""
    clock = SettableClock(NOON + 4 * ONE)
    task = ArchiveRetention(settings.archive, 2, clock, settings.database.conninfo(), "fetcher")
    task.remove()
    task.close()


def test_nothing_is_removed_while_a_replay_is_open(
    settings: FetcherSettings, client: httpx2.Client, database_url: str
) -> None:
    filled(settings.archive)
    assert client.post("/replays", json={"from": str(DAY), "to": str(DAY)}).status_code == 202

    run_retention(settings)
    during = days_of(settings.archive)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("UPDATE ops.operations SET state = 'succeeded', finished_at = now()")
    run_retention(settings)

    assert during == [0, 1, 2, 3]
    assert days_of(settings.archive) == [2, 3]


def test_a_replay_names_the_windows_that_were_removed(settings: FetcherSettings, client: httpx2.Client) -> None:
    filled(settings.archive)
    run_retention(settings)

    plan = client.post("/replays", json={"dry_run": True}).json()
    nothing = client.post("/replays", json={"to": str(DAY)})

    assert (plan["selected"], plan["removed"]) == (2, [f"meadow/cards/{DAY}", f"meadow/cards/{DAY + ONE}"])
    assert "archive_retention_days removed 1 of their windows" in assert_problem(nothing, 422, "invalid-input")
