"""Alerts about real services: a cleaner that is killed, paused or trips, and a fetcher whose documents are invalid."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from headrace.database.embedded import OWNER, EmbeddedPostgres
from services.fetcher.planning.windows import Window
from services.notifier.alerts import postgres_incidents as storage
from services.notifier.alerts.postgres_reading import read_pipeline
from services.notifier.alerts.watch import AlertWatch
from services.notifier.kinds import PipelineKind
from shared.broker.contract import NewRecord
from shared.broker.postgres.broker import PostgresBroker
from shared.ops.tables.steering import steer
from shared.runtime.metrics import Metrics
from shared.runtime.process.replicas import ReplicaHeartbeat
from shared.topics import RAW, retry_topic, topic_specs
from tests.contract.records import write
from tests.deploy.service_faults import FEEDS, YESTERDAY, Parts, followed_source
from tests.services.notifier.alerts.pipeline_rows import Database
from tests.services.notifier.alerts.readings import rule
from tests.services.notifier.books import default_book
from tests.shared.runtime.views import GivenView
from tests.waiting import wait_until

pytestmark = pytest.mark.slow
POLL_S = 0.2
TOPICS = (RAW, retry_topic("cleaner"))


class Cleaner:
    """A process of the cleaner on the test's database."""

    def __init__(self, environ: dict[str, str], directory: Path) -> None:
        self._environ, self._directory = environ, directory
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self._directory / "cleaner.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "services.cleaner"], cwd=self._directory, env=self._environ, stderr=log
            )

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


@pytest.fixture
def broker(database_url: str) -> Iterator[PostgresBroker]:
    with closing(PostgresBroker(database_url)) as broker:
        broker.ensure_topics(topic_specs(partitions=2))
        yield broker


@pytest.fixture
def cleaner(
    postgres: EmbeddedPostgres, database_url: str, broker: PostgresBroker, repository: Path, tmp_path: Path
) -> Iterator[Cleaner]:
    name = psycopg.conninfo.conninfo_to_dict(database_url)["dbname"]
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(repository),
        "HEADRACE_DATABASE__URL": postgres.url(database=str(name)),
        "HEADRACE_DATABASE__PASSWORD_FILE": str(postgres.password_file(OWNER)),
    }
    cleaner = Cleaner(environ, tmp_path)
    try:
        yield cleaner
    finally:
        cleaner.kill()


class Alerts:
    """Evaluates rules without durations; incidents of one subject."""

    def __init__(self, database: Database, *kinds: PipelineKind) -> None:
        self._database = database
        self._watch = AlertWatch("", lambda: [rule(kind, for_s=0) for kind in kinds], default_book, set(), clear_s=0)

    def states(self, subject: str) -> list[str]:
        """Of all incidents, the oldest first, after another evaluation."""
        assert self._watch.step(self._database)
        return [each.state for each in reversed(storage.list_incidents(self._database)) if each.subject == subject]

    def wait_for(self, subject: str, *states: str) -> None:
        wait_until(lambda: self.states(subject) == list(states), f"incidents of {subject}: {states}", poll_s=POLL_S)


def is_running(database: Database) -> bool:
    replicas = read_pipeline(database).live("cleaner")
    return bool(replicas) and all(each.state == "running" and each.is_ready for each in replicas)


def order(database: Database, desired: Any) -> None:
    with database.transaction():
        steer(database, "cleaner", TOPICS, desired, who="a test", request_id="1")


def test_a_killed_cleaner_is_down_until_it_is_started_again(database: Database, cleaner: Cleaner) -> None:
    alerts = Alerts(database, "stage-down")
    cleaner.start()
    wait_until(lambda: is_running(database))
    assert alerts.states("cleaner") == []

    cleaner.kill()
    alerts.wait_for("cleaner", "open")
    cleaner.start()

    alerts.wait_for("cleaner", "resolved")


def test_a_paused_cleaner_is_quiet_even_if_it_is_killed_with_a_backlog(
    database: Database, cleaner: Cleaner, broker: PostgresBroker
) -> None:
    alerts = Alerts(database, "stage-down", "lag-growing", "partition-held")
    cleaner.start()
    wait_until(lambda: is_running(database))
    order(database, "paused")
    wait_until(lambda: all(each.state == "paused" for each in read_pipeline(database).live("cleaner")))
    write(broker, [NewRecord(RAW, b"k", b"{", {}) for _ in range(600)])
    wait_until(lambda: read_pipeline(database).backlogs["cleaner", RAW].records == 600)
    assert alerts.states("cleaner") == []

    cleaner.kill()
    wait_until(lambda: not read_pipeline(database).live("cleaner"), poll_s=POLL_S)

    assert alerts.states("cleaner") == []
    assert alerts.states(f"cleaner/{RAW}") == []


def test_a_tripped_partition_of_the_cleaner_is_held_until_it_is_resumed(
    database: Database, cleaner: Cleaner, broker: PostgresBroker
) -> None:
    alerts = Alerts(database, "partition-held", "stage-down")
    cleaner.start()
    wait_until(lambda: is_running(database))

    write(broker, [NewRecord(RAW, b"k", b"no record", {}) for _ in range(40)])
    alerts.wait_for(f"cleaner/{RAW}", "open")
    assert alerts.states("cleaner") == []
    with database.transaction():
        steer(database, "cleaner", [RAW], "running", who="a test", request_id="1", tolerate=100)

    alerts.wait_for(f"cleaner/{RAW}", "resolved")


def test_a_window_whose_document_is_invalid_is_failed_until_it_is_corrected(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    alerts = Alerts(database, "windows-failed")
    parts = Parts(database_url, database, tmp_path, defaultdict(Metrics))
    view = GivenView("fetcher")

    def guard(_name: str, work: Callable[[], None]) -> None:
        work()

    with followed_source(parts) as source, ReplicaHeartbeat(database_url, view, "", guard, Metrics(), interval_s=0.02):
        source.site.pages[f"/{FEEDS[2]}/v2/{YESTERDAY:%Y/%Y%m%d}.json"] = b"{"
        source.fetch_until(lambda: source.windows("failed") == 1)
        view.detail = source.fetcher.status()
        alerts.wait_for("fetcher", "open")
        (incident,) = storage.list_incidents(database)
        source.publish(FEEDS[2], YESTERDAY, 12)
        source.fetch_until(lambda: source.windows("failed") == 0)
        view.detail = source.fetcher.status()
        alerts.wait_for("fetcher", "resolved")

    assert incident.detail["failed"] == 1
    assert incident.detail["examples"][0].startswith(f"meadow/{FEEDS[2]}/{YESTERDAY}: ")


def test_a_document_that_the_source_changes_after_its_day_is_told_with_the_difference(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    alerts = Alerts(database, "window-changed")
    parts = Parts(database_url, database, tmp_path, defaultdict(Metrics))
    view, window = GivenView("fetcher"), Window(FEEDS[2], YESTERDAY)

    def guard(_name: str, work: Callable[[], None]) -> None:
        work()

    with followed_source(parts) as source, ReplicaHeartbeat(database_url, view, "", guard, Metrics(), interval_s=0.02):
        source.publish(FEEDS[2], YESTERDAY, 12)
        source.fetch_until(lambda: source.windows("done") == 3)
        source.publish(FEEDS[2], YESTERDAY, 12, "corrected")
        source.fetcher.backfill("again", [window], again=True)
        source.fetch_until(lambda: bool(source.fetcher.status()["changes"]))
        view.detail = source.fetcher.status()
        alerts.wait_for(window.key("meadow"), "open")
        (incident,) = storage.list_incidents(database)
        with database.transaction():
            storage.acknowledge_incident(database, incident.id, "a person", default_book())
        alerts.wait_for(window.key("meadow"), "resolved")

    assert incident.detail["events"] == 12
    assert "changed (" in incident.detail["examples"][0]
