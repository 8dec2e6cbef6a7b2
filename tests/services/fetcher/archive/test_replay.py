"""A replay from the archive repeats the records of days under a revision, exactly once, also if a worker dies."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from headrace.database.embedded import EmbeddedPostgres
from services.fetcher.api.router import FetcherApi
from services.fetcher.archive.replay_jobs import ArchiveReplays
from services.fetcher.archive.store import DocumentArchive
from services.fetcher.planning.windows import FetchPlan
from services.fetcher.settings import FetcherSettings
from shared.broker.contract import Record
from shared.broker.postgres.broker import PostgresBroker
from shared.ops.operations import Operation
from shared.ops.tables.replays import REPLAY
from shared.runtime.jobs.thread import JobThread
from shared.runtime.jobs.workers import JobSupervisor
from shared.topics import RAW, topic_specs
from tests.contract.records import read_all
from tests.services.endpoints import served, settings_of
from tests.services.fetcher.synthetic_documents import DAY, SettableClock, document, event, made_source
from tests.shared.runtime.api.admin_apps import assert_problem
from tests.waiting import DEADLINE_S, wait_until

pytestmark = pytest.mark.slow
DAYS = 4


@pytest.fixture
def settings(postgres: EmbeddedPostgres, database_url: str, tmp_path: Path) -> FetcherSettings:
    return settings_of(FetcherSettings, postgres, database_url, tmp_path)


@pytest.fixture
def broker(database_url: str) -> Iterator[PostgresBroker]:
    with closing(PostgresBroker(database_url)) as broker:
        broker.ensure_topics(topic_specs(partitions=2))
        yield broker


@pytest.fixture
def archive(tmp_path: Path) -> DocumentArchive:
    """Two feeds of four days; the first day's cards changed once."""
    archive = DocumentArchive(tmp_path / "archive", "meadow")
    for number in range(DAYS):
        day = DAY + timedelta(days=number)
        for feed in ("cards", "ends"):
            archive.put(document(feed, [event(heat, day) for heat in (1, 2)], day, historical=True))
    archive.put(document("cards", [event(1, DAY, wind=3), event(2, DAY)], DAY, historical=True))
    return archive


@pytest.fixture
def client(settings: FetcherSettings, archive: DocumentArchive) -> Iterator[httpx2.Client]:
    api = FetcherApi(made_source(), FetchPlan(), SettableClock(), archive)
    with served(settings, api.router) as client:
        yield client


@contextmanager
def replica(
    settings: FetcherSettings,
    archive: DocumentArchive,
    name: str = "a",
    on_start: Callable[[JobThread], Any] | None = None,
) -> Iterator[None]:
    """The job supervisor of a fetcher."""
    conninfo = settings.database.conninfo()
    replays = ArchiveReplays(made_source(), archive, conninfo, lambda: PostgresBroker(conninfo))

    def start(operation: Operation, worker: str, index: int) -> JobThread:
        thread = replays.start(operation, worker, index)
        if on_start is not None:
            on_start(thread)
        return thread

    stop = threading.Event()
    jobs = JobSupervisor("fetcher", name, conninfo, {REPLAY: start})
    thread = threading.Thread(target=jobs.run, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def finished_operation(client: httpx2.Client, response: httpx2.Response) -> dict[str, Any]:
    assert response.status_code == 202, response.text
    path = response.headers["location"].removeprefix("/v1")
    wait_until(lambda: client.get(path).json()["finished_at"] is not None)
    operation: dict[str, Any] = client.get(path).json()
    return operation


def raw_records(broker: PostgresBroker) -> list[Record]:
    return read_all(broker, RAW)


def test_days_are_replayed_under_the_replays_revision(
    settings: FetcherSettings, archive: DocumentArchive, client: httpx2.Client, broker: PostgresBroker
) -> None:
    days = {"from": DAY.isoformat(), "to": (DAY + timedelta(days=1)).isoformat()}
    planned = client.post("/replays", json={**days, "dry_run": True}).json()
    assert (planned["selected"], len(planned["windows"])) == (2 * 2 * 2 + 1, 4)

    with replica(settings, archive):
        operation = finished_operation(client, client.post("/replays", json=days))

    assert (operation["state"], operation["counts"]["outputs"]) == ("succeeded", 9)
    records = raw_records(broker)
    assert len(records) == len({record.headers["event_id"] for record in records}) == 9
    assert {record.headers["revision"].decode() for record in records} == {operation["id"]}


def test_keys_and_feeds_limit_the_replay(
    settings: FetcherSettings, archive: DocumentArchive, client: httpx2.Client, broker: PostgresBroker
) -> None:
    with replica(settings, archive):
        finished_operation(
            client, client.post("/replays", json={"feeds": ["ends"], "keys": ["meadow:2031-05-05:*:01"]})
        )

    assert [record.key.decode() for record in raw_records(broker)] == ["meadow:2031-05-05:03:01"]


def test_a_replay_of_a_stopped_worker_continues_where_it_was(
    settings: FetcherSettings, archive: DocumentArchive, client: httpx2.Client, broker: PostgresBroker
) -> None:
    response = client.post("/replays", json={"rate": 40})
    stopped = threading.Event()

    def stop_soon(thread: JobThread) -> None:
        def watch() -> None:
            wait_until(lambda: bool(raw_records(broker)))
            thread.stop()
            stopped.set()

        threading.Thread(target=watch).start()

    with replica(settings, archive, "a", stop_soon):
        assert stopped.wait(DEADLINE_S)
    with replica(settings, archive, "b"):
        operation = finished_operation(client, response)

    assert (operation["state"], operation["counts"]["outputs"]) == ("succeeded", 17)
    assert set(Counter(record.headers["event_id"] for record in raw_records(broker)).values()) == {1}


def test_documents_archived_after_the_plan_are_not_replayed(
    settings: FetcherSettings, archive: DocumentArchive, client: httpx2.Client, broker: PostgresBroker
) -> None:
    response = client.post("/replays", json={"feeds": ["cards"]})
    archive.put(document("cards", [event(1, DAY, wind=9), event(2, DAY)], DAY, historical=True))

    with replica(settings, archive):
        operation = finished_operation(client, response)

    assert operation["counts"]["outputs"] == 2 * DAYS + 1


def test_overlapping_and_empty_replays_are_refused(client: httpx2.Client) -> None:
    first = client.post("/replays", json={"feeds": ["cards"], "from": DAY.isoformat()}).json()

    again = client.post("/replays", json={"from": DAY.isoformat(), "to": DAY.isoformat()})
    assert first["id"] in assert_problem(again, 409, "conflict")
    assert client.post("/replays", json={"feeds": ["ends"]}).status_code == 202
    nothing = client.post("/replays", json={"from": "1999-01-01", "to": "1999-01-02"})
    assert "has no record" in assert_problem(nothing, 422, "invalid-input")
    assert "no feed 'odds'" in assert_problem(client.post("/replays", json={"feeds": ["odds"]}), 422, "invalid-input")


def test_an_unreadable_archive_fails_the_replay(
    settings: FetcherSettings, archive: DocumentArchive, client: httpx2.Client, tmp_path: Path
) -> None:
    response = client.post("/replays", json={"feeds": ["cards"]})
    (tmp_path / "archive" / "index.jsonl").unlink()
    (tmp_path / "archive" / "index.jsonl").mkdir()

    with replica(settings, archive):
        operation = finished_operation(client, response)

    assert (operation["state"], "cannot read the archive index" in operation["error"]) == ("failed", True)
