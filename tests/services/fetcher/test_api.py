"""The fetcher's endpoints over HTTP: backfills and windows."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

import pytest

from headrace.database.embedded import EmbeddedPostgres
from services.fetcher.api.router import FetcherApi
from services.fetcher.archive.store import DocumentArchive
from services.fetcher.fetch import Fetcher
from services.fetcher.http.source import HttpSource
from services.fetcher.planning.windows import FetchPlan
from services.fetcher.postgres_acceptances import AcceptanceOperations
from services.fetcher.postgres_backfills import BackfillOperations
from services.fetcher.settings import FetcherSettings
from shared.broker.postgres.broker import PostgresBroker
from shared.runtime.loops.poller import PollerLoop
from shared.runtime.metrics import Metrics
from shared.runtime.process.operation_poller import OperationPoller
from shared.topics import FETCHER_CURSORS, RAW, topic_specs
from tests.services.endpoints import finished_operation, served, settings_of
from tests.services.fetcher.site import Site, delayed
from tests.services.fetcher.synthetic_documents import DAY, NOON, SettableClock, body, event, made_source
from tests.shared.runtime.api.admin_apps import assert_problem
from tests.waiting import wait_until


class FetcherClient(tuple[Any, ...]):
    """The client, the settings, the progress of backfills, the broker; `accept`: the progress of acceptances."""

    def __new__(cls, *parts: Any) -> Self:
        return super().__new__(cls, parts[:4])

    def __init__(self, *parts: Any) -> None:
        self.accept = AcceptanceOperations(parts[4]).read_progress


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
                yield FetcherClient(client, settings, BackfillOperations(fetcher).read_progress, own, fetcher)
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


def run_backfill(fetcher_client: Any, **request: Any) -> Any:
    client, settings, read_progress, _ = fetcher_client
    days = {"from": DAY.isoformat(), "to": (DAY + timedelta(days=1)).isoformat()}
    return finished_operation(
        client, client.post("/backfills", json=days | request), settings, "backfill", read_progress
    )


def listed(client: Any, **params: Any) -> list[tuple[str, str, str]]:
    return [
        (each["date"], each["feed"], each["state"]) for each in client.get("/windows", params=params).json()["windows"]
    ]


def planned(client: Any, **request: Any) -> list[tuple[str, str, str]]:
    """The windows of a dry run."""
    days = {"from": DAY.isoformat(), "to": (DAY + timedelta(days=1)).isoformat(), "dry_run": True}
    response = client.post("/backfills", json=days | request)
    assert response.status_code == 200
    return [(each["date"], each["feed"], each["state"]) for each in response.json()["windows"]]


def test_a_dry_run_lists_exactly_the_windows_that_a_backfill_fetches(fetcher_client: Any, site: Site) -> None:
    client = fetcher_client[0]
    site.pages[f"/ends/{DAY:%Y%m%d}.json"] = b"busy"
    run_backfill(fetcher_client, to=DAY.isoformat(), feeds=["looks", "ends"])
    site.requests.clear()

    plan = planned(client, order="newest")
    operation = run_backfill(fetcher_client, order="newest")

    assert plan == [
        ("2031-05-05", "cards", "planned"),
        ("2031-05-05", "looks", "planned"),
        ("2031-05-05", "ends", "planned"),
        ("2031-05-04", "cards", "planned"),
        ("2031-05-04", "ends", "failed"),
    ]
    assert {path.rpartition("/")[0] + path[-9:-5] for path in site.requests} == {
        f"/{feed}{day[5:7]}{day[8:]}" for day, feed, _ in plan
    }
    assert operation["counts"]["due"] == 0
    assert client.get("/backfills").json()["operations"][0]["id"] == operation["id"]


def test_a_backfill_is_limited_to_windows_by_state(fetcher_client: Any, site: Site) -> None:
    client = fetcher_client[0]
    site.pages[f"/ends/{DAY:%Y%m%d}.json"] = b"busy"
    site.pages[f"/looks/{DAY:%Y%m%d}.json"] = body("looks", [])
    run_backfill(fetcher_client, to=DAY.isoformat())

    assert planned(client, only=["failed", "suspect"]) == [
        ("2031-05-04", "looks", "suspect"),
        ("2031-05-04", "ends", "failed"),
    ]
    site.pages[f"/ends/{DAY:%Y%m%d}.json"] = body("ends", [event(1)])
    site.pages[f"/looks/{DAY:%Y%m%d}.json"] = body("looks", [event(1)])
    operation = run_backfill(fetcher_client, only=["failed", "suspect"])

    assert operation["target"]["windows"] == ["looks/2031-05-04", "ends/2031-05-04"]
    assert (operation["state"], operation["counts"]["done"]) == ("succeeded", 2)
    assert planned(client, only=["failed", "suspect"]) == []
    assert [each[0] for each in planned(client, only=["missing"])] == ["2031-05-05"] * 3


def test_a_backfill_is_paused_and_resumed(fetcher_client: Any, site: Site) -> None:
    client, settings, read_progress, _ = fetcher_client
    release = threading.Event()
    site.answers[f"/cards/{DAY:%Y%m%d}.json"].append(delayed(release))
    days = {"from": DAY.isoformat(), "to": (DAY + timedelta(days=1)).isoformat(), "feeds": ["cards"]}
    response = client.post("/backfills", json=days)
    path = response.headers["location"].removeprefix("/v1")

    paused = client.post(f"{path}/pause").json()
    with closing(OperationPoller(settings.database.conninfo(), "fetcher", "backfill", read_progress)) as poller:

        def state_is(state: str) -> bool:
            poller.poll()
            return bool(client.get(path).json()["state"] == state)

        wait_until(lambda: state_is("paused"))
        release.set()
        client.post(f"{path}/resume")
        wait_until(lambda: state_is("succeeded"))

    assert paused["wanted"] == "pause"
    assert client.get(path).json()["counts"]["done"] == 2


def test_gaps_are_listed_by_feed(fetcher_client: Any, site: Site) -> None:
    client = fetcher_client[0]
    site.pages[f"/ends/{DAY:%Y%m%d}.json"] = b"busy"
    run_backfill(fetcher_client, to=DAY.isoformat())

    gaps = client.get("/windows/gaps", params={"to": "2031-05-05"}).json()["gaps"]

    assert [(each["feed"], each["from"], each["to"], each["states"]) for each in gaps] == [
        ("cards", "2031-05-05", "2031-05-05", {"planned": 1}),
        ("looks", "2031-05-05", "2031-05-05", {"planned": 1}),
        ("ends", "2031-05-04", "2031-05-05", {"failed": 1, "planned": 1}),
    ]


def test_a_changed_document_is_listed_with_its_difference(fetcher_client: Any, site: Site) -> None:
    client = fetcher_client[0]
    run_backfill(fetcher_client, to=DAY.isoformat())
    site.pages[f"/ends/{DAY:%Y%m%d}.json"] = body("ends", [event(1, place=1)])
    run_backfill(fetcher_client, to=DAY.isoformat(), again=True)

    (change,) = client.get("/windows/changes").json()["changes"]

    assert (change["date"], change["feed"], change["total"]) == ("2031-05-04", "ends", 1)
    assert change["events"] == [{"event": "meadow:2031-05-04:03:01", "kind": "changed", "fields": ["place"]}]


def test_a_suspect_window_is_accepted_once_and_recorded(fetcher_client: Any, site: Site) -> None:
    client, settings, _, _ = fetcher_client
    site.pages[f"/ends/{DAY:%Y%m%d}.json"] = body("ends", [])
    run_backfill(fetcher_client, to=DAY.isoformat())
    suspect = listed(client, state="suspect")
    request = {"json": {"reason": "no heats"}, "headers": {"Idempotency-Key": "once"}}

    response = client.post("/windows/ends/2031-05-04/accept", **request)
    again = client.post("/windows/ends/2031-05-04/accept", **request)
    operation = finished_operation(client, response, settings, "acceptance", fetcher_client.accept)

    assert suspect == [("2031-05-04", "ends", "suspect")]
    assert (operation["state"], again.json()["id"]) == ("succeeded", operation["id"])
    assert listed(client, state="suspect") == []
    trail = [each for each in client.get("/audit").json()["lines"] if each["action"] == "accept"]
    assert [(each["target"], each["after"]["reason"]) for each in trail] == [("meadow/ends/2031-05-04", "no heats")]


def test_a_window_whose_day_is_not_over_cannot_be_accepted(fetcher_client: Any) -> None:
    client = fetcher_client[0]

    response = client.post("/windows/ends/2031-05-04/accept", json={"reason": "no heats"})

    assert "is planned" in assert_problem(response, 409, "conflict")


def test_a_window_is_loaded_once_the_loader_has_read_everything(fetcher_client: Any) -> None:
    client, _, _, broker = fetcher_client
    run_backfill(fetcher_client, to=DAY.isoformat(), feeds=["ends"])
    before = client.get("/windows").json()["windows"][0]["stage"]

    read_all(broker, "cleaner", RAW)

    assert (before, client.get("/windows").json()["windows"][0]["stage"]) == ("emitted", "loaded")


def read_all(broker: PostgresBroker, group: str, topic: str) -> None:
    """Advances the positions of a group to the end of a topic."""
    with (
        closing(broker.consumer(group, [topic], f"{group}-0")) as consumer,
        closing(broker.producer(group)) as producer,
    ):
        wait_until(lambda: consumer.poll(0.05, 1) is not None and len(consumer.assignment()) == 2)
        with producer.unit() as unit:
            unit.advance(consumer.poll(0.05, 1).token, broker.end_offsets(broker.partitions(topic)))
            unit.commit()
