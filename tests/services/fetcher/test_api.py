"""The fetcher's endpoints over HTTP: backfills and windows."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from headrace.database.embedded import EmbeddedPostgres
from services.fetcher.api.router import FetcherApi
from services.fetcher.archive.store import DocumentArchive
from services.fetcher.fetch import Fetcher
from services.fetcher.planning.windows import FetchPlan
from services.fetcher.postgres_backfills import BackfillOperations
from services.fetcher.settings import FetcherSettings
from services.fetcher.sources.http import HttpSource
from shared.broker.postgres.broker import PostgresBroker
from shared.runtime.loops.poller import PollerLoop
from shared.runtime.metrics import Metrics
from shared.topics import FETCHER_CURSORS, RAW, topic_specs
from tests.services.endpoints import finished_operation, served, settings_of
from tests.services.fetcher.site import Site, delayed
from tests.services.fetcher.synthetic_documents import DAY, NOON, SettableClock, body, event, made_source
from tests.shared.runtime.api.admin_apps import assert_problem


@pytest.fixture
def fetcher_client(postgres: EmbeddedPostgres, database_url: str, tmp_path: Path, site: Site) -> Iterator[Any]:
    """A running fetcher with an empty plan, and its API. The source has two days."""
    settings = settings_of(FetcherSettings, postgres, database_url, tmp_path)
    source, clock = made_source(site.url), SettableClock(NOON + timedelta(days=5))
    for day in (DAY, DAY + timedelta(days=1)):
        for feed in ("cards", "looks", "ends"):
            site.pages[f"/{feed}/{day:%Y%m%d}.json"] = body(feed, [event(1, day)])
    fetcher = Fetcher(source, HttpSource(source, clock), DocumentArchive(tmp_path / "archive"), FetchPlan(), clock)
    with closing(PostgresBroker(database_url)) as broker, closing(PostgresBroker(database_url)) as own:
        broker.ensure_topics(topic_specs(partitions=2))
        loop = PollerLoop(
            broker, service="fetcher", slot="0", cursors=FETCHER_CURSORS, source=fetcher, metrics=Metrics()
        )
        thread = threading.Thread(target=loop.run)
        thread.start()
        try:
            with served(
                settings, FetcherApi(source, FetchPlan(), clock, DocumentArchive(tmp_path / "archive")).router, own
            ) as client:
                yield client, settings, BackfillOperations(fetcher).read_progress, own
        finally:
            loop.stop()
            thread.join()
            fetcher.close()


def test_a_backfill_fetches_its_days_and_ends(fetcher_client: Any) -> None:
    client, settings, read_progress, broker = fetcher_client
    days = {"from": DAY.isoformat(), "to": (DAY + timedelta(days=1)).isoformat()}

    response = client.post("/backfills", json={**days, "feeds": ["cards", "ends"]})
    operation = finished_operation(client, response, settings, "backfill", read_progress)

    assert (operation["state"], operation["progress"]) == ("succeeded", 1)
    assert operation["counts"] == {"due": 0, "done": 4, "failed": 0, "missing": 0}
    assert sum(broker.end_offsets(broker.partitions(RAW)).values()) == 4
    page = client.get("/windows", params={"limit": 3}).json()
    assert [(each["date"], each["feed"], each["state"]) for each in page["windows"]] == [
        ("2031-05-04", "cards", "done"),
        ("2031-05-04", "ends", "done"),
        ("2031-05-05", "cards", "done"),
    ]
    next_page = client.get("/windows", params={"after": page["next"]}).json()
    assert [(each["date"], each["feed"]) for each in next_page["windows"]] == [("2031-05-05", "ends")]
    assert next_page["next"] is None
    assert [each["id"] for each in client.get("/backfills").json()["operations"]] == [operation["id"]]


def test_a_final_document_with_fewer_events_than_another_one_of_its_day_is_suspect(
    fetcher_client: Any, site: Site
) -> None:
    client, settings, read_progress, _ = fetcher_client
    site.pages[f"/cards/{DAY:%Y%m%d}.json"] = body("cards", [event(1), event(2)])
    days = {"from": DAY.isoformat(), "to": DAY.isoformat()}

    response = client.post("/backfills", json={**days, "feeds": ["cards", "ends"]})
    finished_operation(client, response, settings, "backfill", read_progress)

    suspect = client.get("/windows", params={"state": "suspect"}).json()
    assert [(each["date"], each["feed"], each["state"]) for each in suspect["windows"]] == [
        ("2031-05-04", "ends", "suspect")
    ]


@pytest.mark.parametrize(
    ("request_body", "cause"),
    [
        ({"from": "2031-05-04", "to": "2031-05-03"}, "is before"),
        ({"from": "2031-05-04", "to": "2031-05-09"}, "is not over"),
        ({"from": "2031-05-04", "to": "2031-05-04", "feeds": ["odds"]}, "has no feed 'odds'"),
        ({"from": "1931-05-04", "to": "2031-05-04"}, "at most 4000 days"),
        ({"from": "2031-05-04"}, "to"),
    ],
)
def test_days_that_cannot_be_fetched_are_refused(fetcher_client: Any, request_body: dict[str, Any], cause: str) -> None:
    client = fetcher_client[0]

    assert cause in assert_problem(client.post("/backfills", json=request_body), 422, "invalid-input")


def test_a_cancelled_backfill_fetches_no_more_windows(fetcher_client: Any, site: Site) -> None:
    client, settings, read_progress, _ = fetcher_client
    release = threading.Event()
    site.answers[f"/ends/{DAY:%Y%m%d}.json"].append(delayed(release))
    response = client.post("/backfills", json={"from": DAY.isoformat(), "to": DAY.isoformat(), "feeds": ["ends"]})
    path = response.headers["location"].removeprefix("/v1")

    cancelled = client.post(f"{path}/cancel").json()
    operation = finished_operation(client, response, settings, "backfill", read_progress)
    release.set()

    assert (cancelled["wanted"], cancelled["finished_at"]) == ("cancel", None)
    assert operation["state"] == "cancelled"
    assert "has already ended" in assert_problem(client.post(f"{path}/cancel"), 409, "conflict")
