"""A real Prometheus scrapes a run with faults. Its time is compressed: a second stands for a minute in all rules.

The rules' durations are divided by 60 and Prometheus scrapes every second, so a minute of the test is an hour of the
rules. Thresholds in seconds within expressions are not changed; ages are set in the database instead.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from deploy.grafana.panels import DASHBOARDS
from deploy.prometheus.local import DEPLOY, TargetFile, configuration, prometheus
from headrace.database.embedded import EmbeddedPostgres
from shared.ops.tables import audit_results
from shared.ops.tables.orders import give_order
from shared.settings.sections import Settings
from shared.topics import CLEAN, RAW, READS, SERVICES
from tests.headrace import runs
from tests.waiting import wait_until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.prometheus,
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="no prometheus: install Debian's package prometheus"),
]
HOUR_S = 60
# The disk of the machine that runs the tests may be full.
OF_THE_MACHINE = {"DiskFull"}
UNITS_S = {"s": 1, "m": 60, "h": 3600}
# Without Kafka, model, replay, audit and failures, these panels have nothing to show.
EMPTY = {
    "Records that are not relayed", "Age of the oldest", "Model in use", "Log-loss, and of the base rate",
    "Calibration error", "Behind the base rate", "Feature groups", "The most drifted features", "Open operations",
    "Progress", "Time without progress", "Retries", "Held-back partitions", "Dead letters by cause", "Redriven",
    "Regressions", "Filtered records", "Refused and failed requests", "Age of pauses", "Records by fate", "Findings",
    "Age",
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

    def firing(self, over: str = "") -> set[str]:
        """The alerts that fire now, or that fired in the last seconds."""
        selector = 'ALERTS{alertstate="firing"}'
        samples = self.query(f"count_over_time({selector}[{over}])" if over else selector)
        return {labels["alertname"] for labels, _ in samples} - OF_THE_MACHINE


def compressed(text: str) -> str:
    """The rules with durations of a 60th, at least a second."""

    def shorter(match: re.Match[str]) -> str:
        seconds = max(1, round(int(match[2]) * UNITS_S[match[3]] / 60))
        return f"{match[1]}{seconds}s{match[4]}"

    text = re.sub(r"(\[)(\d+)([smh])(\])", shorter, text)
    return re.sub(r"((?:for|interval): )(\d+)([smh])()", shorter, text)


def test_durations_of_rules_are_compressed() -> None:
    assert compressed("for: 5m\nexpr: rate(x[1h]) > 300\ninterval: 15s") == (
        "for: 5s\nexpr: rate(x[60s]) > 300\ninterval: 1s"
    )


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
def database(data_dir: Path) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(EmbeddedPostgres(data_dir).url_with_password(), autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="module")
def server(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus with compressed rules that scrapes the run."""
    folder = tmp_path_factory.mktemp("prometheus")
    (folder / "rules").mkdir()
    for path in (DEPLOY / "prometheus" / "rules").glob("*.yml"):
        (folder / "rules" / path.name).write_text(compressed(path.read_text()))
    assert TargetFile(Settings(data_dir=data_dir), folder / "targets.json").refresh() == len(SERVICES)
    (folder / "prometheus.yml").write_text(configuration(folder / "targets.json", folder / "rules", None, 1))
    port = _free_port()
    with prometheus(folder / "prometheus.yml", folder / "data", port):
        server = Prometheus(port)
        wait_until(
            lambda: len(server.query("headrace_measured_timestamp_seconds > 0")) == len(SERVICES), forgive=OSError
        )
        yield server


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


@contextmanager
def order(database: psycopg.Connection[Any], *paused: tuple[str, str]) -> Iterator[None]:
    """Pause these services on these topics."""
    for service, topic in paused:
        give_order(database, service, topic, "paused", "test")
    try:
        yield
    finally:
        for service, topic in paused:
            give_order(database, service, topic, "running", "test")


def test_no_alert_fires_on_an_idle_system_for_an_hour(server: Prometheus) -> None:
    wait_until(lambda: not server.firing(), "the alerts of the start clear")

    time.sleep(HOUR_S)

    assert server.firing(over=f"{HOUR_S}s") == set()


def test_no_alert_fires_on_a_paused_system_for_an_hour(server: Prometheus, database: psycopg.Connection[Any]) -> None:
    everything = [(service, topic) for service in SERVICES for topic in READS[service] or (RAW,)]
    with order(database, *everything):
        wait_until(lambda: len(server.query("headrace:paused:max == 1")) == len(everything))

        time.sleep(HOUR_S)

        fired = server.firing(over=f"{HOUR_S}s")
    wait_until(lambda: not server.query("headrace:paused:max == 1"))
    assert fired == set()


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


def test_a_service_that_does_not_answer_is_reported(server: Prometheus, database: psycopg.Connection[Any]) -> None:
    assert "TargetDown" not in server.firing()
    row = database.execute("SELECT pid FROM ops.replicas WHERE service = 'notifier'").fetchone()
    assert row is not None
    subprocess.run(["kill", "-STOP", str(row[0])], check=True)
    try:
        wait_until(lambda: "TargetDown" in server.firing(), "the alert")
    finally:
        subprocess.run(["kill", "-CONT", str(row[0])], check=True)

    wait_until(lambda: "TargetDown" not in server.firing(), "its end")


def test_a_finding_of_an_audit_is_reported_until_an_audit_finds_nothing(
    server: Prometheus, database: psycopg.Connection[Any]
) -> None:
    audit_results.store(database, {"loaded": 1, "missing": 1}, {"missing": 1})
    wait_until(lambda: "AuditFindings" in server.firing(), "the alert")

    audit_results.store(database, {"loaded": 2, "missing": 0}, {"missing": 0})

    wait_until(lambda: "AuditFindings" not in server.firing(), "its end")


def test_a_message_of_unknown_delivery_is_reported_until_an_operator_decides(
    server: Prometheus, database: psycopg.Connection[Any]
) -> None:
    database.execute(
        "INSERT INTO notifier.ledger (record_id, rule, channel, event_key, text, state, created_at, due_at)"
        " VALUES (gen_random_uuid(), 'tip', 'console', 'k', 'hello', 'unknown', now(), now())"
    )
    wait_until(lambda: "NotificationsUnknown" in server.firing(), "the alert")

    database.execute("UPDATE notifier.ledger SET state = 'sent' WHERE state = 'unknown'")

    wait_until(lambda: "NotificationsUnknown" not in server.firing(), "its end")


def test_a_late_message_is_reported_until_it_is_sent(server: Prometheus, database: psycopg.Connection[Any]) -> None:
    database.execute(
        "INSERT INTO notifier.ledger (record_id, rule, channel, event_key, text, state, created_at, due_at)"
        " VALUES (gen_random_uuid(), 'tip', 'console', 'k', 'hello', 'pending', now() - interval '1 hour',"
        " now() + interval '1 hour')"
    )
    wait_until(lambda: "NotificationsLate" in server.firing(), "the alert")

    database.execute("UPDATE notifier.ledger SET due_at = now() WHERE state = 'pending'")

    wait_until(lambda: "NotificationsLate" not in server.firing(), "its end")


def test_a_pause_of_a_day_is_reported_until_it_ends(server: Prometheus, database: psycopg.Connection[Any]) -> None:
    with order(database, ("cleaner", RAW)):
        database.execute("UPDATE ops.orders SET ordered_at = now() - interval '25 hours' WHERE service = 'cleaner'")
        wait_until(lambda: "PausedLong" in server.firing(), "the alert")

    wait_until(lambda: "PausedLong" not in server.firing(), "its end")


def test_records_that_are_removed_unread_are_reported_until_an_hour_after_they_are_passed(
    server: Prometheus, database: psycopg.Connection[Any]
) -> None:
    """The begin of a partition is moved, as retention would do. The loader is paused, so it cannot pass it."""
    with order(database, ("loader", CLEAN)):
        wait_until(lambda: server.query(f'headrace:paused:max{{topic="{CLEAN}"}} == 1'))
        where = "WHERE topic_id = (SELECT id FROM broker.topics WHERE name = %s) AND p = 0"
        database.execute(
            f"UPDATE broker.partitions SET begin_off = end_off + 5, end_off = end_off + 5 {where}", (CLEAN,)
        )
        wait_until(lambda: "RecordsLost" in server.firing(), "the alert")
        database.execute(
            "UPDATE broker.positions SET next_off = (SELECT end_off FROM broker.partitions"
            f" {where}) WHERE grp = 'loader' AND topic_id = (SELECT id FROM broker.topics WHERE name = %s) AND p = 0",
            (CLEAN, CLEAN),
        )

        wait_until(lambda: "RecordsLost" not in server.firing(), "its end")
