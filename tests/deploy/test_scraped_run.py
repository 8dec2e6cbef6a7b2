"""A real Prometheus scrapes a real run with faults every second, with rules in which a second stands for a minute.

What may not fire is checked with the shipped rules instead, on scrapes that are stretched over hours.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from deploy.grafana.panels import DASHBOARDS
from deploy.prometheus.local import TargetFile, configuration, prometheus
from headrace.database.embedded import EmbeddedPostgres
from shared.broker.postgres.broker import PostgresBroker
from shared.settings.sections import Settings
from shared.topics import CLEAN, LOADED, RAW, READS, SERVICES
from tests.deploy.compressed import compressed
from tests.deploy.run_faults import FAULTS, Run, copy_of
from tests.deploy.stretched import RULES, Phase, Scrape, assert_alerts
from tests.headrace import runs
from tests.shared.runtime.loop_harness import append, contents
from tests.waiting import wait_until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.prometheus,
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="no prometheus: install Debian's package prometheus"),
]
# The disk of the machine that runs the tests may be full.
OF_THE_MACHINE = {"DiskFull"}
# Its compressed threshold is shorter than the interval of the measurements, which is not compressed.
BELOW_INTERVAL = {"MeasurementsStale"}
# The slowest faults need a minute on an idle machine.
DEADLINE_S = 300.0
# Prometheus evaluates the rules once a second.
POLL_S = 0.5
# Without Kafka, model, bot, replay, audit, quality report and failures, these panels have nothing to show.
EMPTY = {
    "Records that are not relayed", "Age of the oldest", "Model in use", "Log-loss, and of the base rate",
    "Calibration error", "Behind the base rate", "Feature groups", "The most drifted features", "Open operations",
    "Progress", "Time without progress", "Retries", "Held-back partitions", "Dead letters by cause", "Redriven",
    "Regressions", "Filtered records", "Refused and failed requests", "Age of pauses", "Records by fate", "Findings",
    "Age", "Broken thresholds", "Commands and buttons", "Time to the first answer, 95 %",
    "Time until the next request", "Open breakers",
}  # fmt: skip


class Prometheus:
    """Queries of the Prometheus under test."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/api/v1/query?"

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Labels and values; asserts that the expression is valid."""
        with urllib.request.urlopen(self._url + urllib.parse.urlencode({"query": expression}), timeout=10) as answer:
            body: dict[str, Any] = json.load(answer)
        assert body["status"] == "success"
        return [(each["metric"], float(each["value"][1])) for each in body["data"]["result"]]

    def firing(self) -> set[str]:
        names = {labels["alertname"] for labels, _ in self.query('ALERTS{alertstate="firing"}')}
        return names - OF_THE_MACHINE - BELOW_INTERVAL

    def scrape(self) -> Scrape:
        """The newest values of all series of the run."""
        samples = self.query('{__name__=~"headrace_.*|up"}')
        return {
            (labels["__name__"], frozenset(labels.items() - {("__name__", labels["__name__"])})): value
            for labels, value in samples
        }

    def next_scrape(self) -> Scrape:
        """The values after every service has measured its stored state again."""
        measured = "headrace_measured_timestamp_seconds"
        old = {value for _, value in self.query(measured)}
        wait_until(lambda: old.isdisjoint(value for _, value in self.query(measured)), poll_s=POLL_S)
        return self.scrape()


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The data directory of a run that has loaded two days and continues."""
    folder = tmp_path_factory.mktemp("run")
    archive, data_dir = runs.write_archive(folder / "archive"), folder / "data"
    with (folder / "run.log").open("w") as log:
        process = subprocess.Popen(
            runs.command(archive, data_dir), stdout=log, stderr=log, text=True, start_new_session=True
        )
        try:
            runs.until(lambda: _is_loaded(data_dir), process, data_dir)
            yield data_dir
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(runs.STOP_LIMIT_S)


def _is_loaded(data_dir: Path) -> bool:
    server = EmbeddedPostgres(data_dir)
    if not server.password_file("headrace_owner").exists() or not server.accepts_connections():
        return False
    try:
        with psycopg.connect(server.url_with_password()) as connection:
            row = connection.execute(
                "SELECT count(*) FILTER (WHERE ready AND lag_records IS NOT DISTINCT FROM 0 OR service = 'fetcher'),"
                " (SELECT count(*) FROM facts.events WHERE status = 'settled') FROM ops.replicas"
            ).fetchone()
    except psycopg.Error:
        return False
    return row is not None and row[0] == len(SERVICES) and row[1] >= runs.RACES


@pytest.fixture(scope="module")
def run(data_dir: Path) -> Iterator[Run]:
    url = EmbeddedPostgres(data_dir).url_with_password()
    with psycopg.connect(url, autocommit=True) as connection:
        yield Run(url, connection)


@pytest.fixture(scope="module")
def server(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus with compressed rules that scrapes the run."""
    folder = tmp_path_factory.mktemp("prometheus")
    (folder / "rules").mkdir()
    for path in RULES.glob("*.yml"):
        (folder / "rules" / path.name).write_text(compressed(path.read_text()))
    assert TargetFile(Settings(data_dir=data_dir), folder / "targets.json").refresh() == len(SERVICES)
    (folder / "prometheus.yml").write_text(configuration(folder / "targets.json", folder / "rules", None, 1))
    port = _free_port()
    with prometheus(folder / "prometheus.yml", folder / "data", port):
        server = Prometheus(port)
        wait_until(
            lambda: len(server.query("headrace_measured_timestamp_seconds > 0")) == len(SERVICES),
            forgive=OSError,
            poll_s=POLL_S,
        )
        yield server


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


def until_empty(alerts: Callable[[], set[str]], what: str) -> None:
    latest: set[str] = set()

    def is_empty() -> bool:
        nonlocal latest
        latest = alerts()
        return not latest

    try:
        wait_until(is_empty, what, DEADLINE_S, poll_s=POLL_S)
    except AssertionError as error:
        raise AssertionError(f"{what}: {', '.join(sorted(latest))}") from error


@contextmanager
def everything_paused(run: Run) -> Iterator[int]:
    """All topics of all services are paused. Yields their number."""
    topics = {service: READS[service] or (RAW,) for service in SERVICES}
    for service in SERVICES:
        run.order(service, topics[service], "paused")
    try:
        yield sum(map(len, topics.values()))
    finally:
        for service in SERVICES:
            run.order(service, topics[service], "running")


def test_no_alert_fires_or_waits_on_an_idle_system_for_two_hours(server: Prometheus, tmp_path: Path) -> None:
    until_empty(server.firing, "alerts of the start")

    before, after = server.scrape(), server.next_scrape()

    assert_alerts([Phase(before, 0), Phase(after, 120)], tmp_path, OF_THE_MACHINE)


def test_no_alert_fires_or_waits_on_a_paused_system_for_two_hours(server: Prometheus, run: Run, tmp_path: Path) -> None:
    """Records arrive during the pause."""
    with everything_paused(run) as count, closing(PostgresBroker(run.database_url)) as broker:
        wait_until(lambda: len(server.query("headrace:paused:max == 1")) == count, poll_s=POLL_S)
        before = server.next_scrape()
        append(broker, [copy_of(record) for topic in (RAW, CLEAN, LOADED) for record in contents(broker, topic)[:20]])
        wait_until(lambda: len(server.query("headrace:lag_records:sum > 0")) >= 3, poll_s=POLL_S)
        after = server.next_scrape()
    wait_until(lambda: not server.query("headrace:paused:max == 1"), poll_s=POLL_S)

    assert_alerts([Phase(before, 0), Phase(after, 120)], tmp_path, OF_THE_MACHINE)


def empty_panels(server: Prometheus) -> set[str]:
    """The titles of the panels with an expression that has no value now."""
    return {
        panel.title
        for spec in DASHBOARDS
        for _, panels in spec.rows
        for panel in panels
        for query in panel.queries
        if not server.query(re.sub(r"\$\w+", ".*", query.expr))
    }


def test_every_panel_has_values_unless_it_shows_what_the_run_does_not_have(server: Prometheus) -> None:
    wait_until(lambda: empty_panels(server) <= EMPTY, f"panels beside {sorted(EMPTY)}")


def test_alerts_fire_on_their_faults_and_clear(server: Prometheus, run: Run) -> None:
    expected, fired = set[str]().union(*FAULTS.values()), set[str]()

    def missing() -> set[str]:
        fired.update(server.firing())
        return expected - fired

    until_empty(server.firing, "alerts before the faults")
    with ExitStack() as faults:
        for fault in FAULTS:
            faults.enter_context(fault(run))
        until_empty(missing, "alerts that do not fire")

    until_empty(server.firing, "alerts that do not clear")
    assert fired == expected
