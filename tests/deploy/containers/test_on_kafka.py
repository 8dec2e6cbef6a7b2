"""An installation with Kafka, the simulator and Prometheus: a season, faults while it loads, a live day.

The tests run in their order and share the installation. At the end its rows are those of an undisturbed run.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta

import pytest

from services.notifier.texts.message import plain_text
from shared.topics import SERVICES
from tests.deploy.containers import faults
from tests.deploy.containers.engine import Engine
from tests.deploy.containers.installation import LONG_S, POLL_S, Installation, NewInstallation
from tests.deploy.containers.reference import Reference
from tests.deploy.containers.rows import FINAL, differences
from tests.deploy.containers.season import FIRST, Clock, Season, Span, at
from tests.headrace.runs import TABLES
from tests.waiting import wait_until

pytestmark = pytest.mark.engine
REPLICAS = {"cleaner": 3, "loader": 2}
FAULTS = {
    "the fetcher crashes": faults.crash("fetcher"),
    "the cleaner crashes": faults.crash("cleaner"),
    "the loader crashes": faults.crash("loader"),
    "kafka restarts": faults.restart("kafka"),
    "kafka crashes": faults.crash("kafka"),
    "postgres restarts": faults.restart("postgres"),
    "postgres crashes": faults.crash("postgres"),
    "more replicas": faults.scale(REPLICAS),
    "the cleaner is upgraded": faults.upgrade,
    "stop and start": faults.stop_and_start,
    "down and up": faults.down_and_up,
}
# The first span is loaded and trained on; each fault has a span of its own; the last day runs live.
VENUES, FIRST_DAYS, FAULT_DAYS = 12, 16, 12
START = Span(FIRST, FIRST + timedelta(days=FIRST_DAYS - 1))
SPANS = dict(zip(FAULTS, START.successors(FAULT_DAYS), strict=False))
HISTORY = Span(FIRST, max(span.last for span in SPANS.values()))
LIVE = HISTORY.next(1)
SEASON = Season(VENUES, (LIVE.last - FIRST).days + 2)
# Until the live day, it is early in its morning. Then ten hours take six minutes.
MORNING = Clock(at(LIVE.first, 5), 1.0, time.time())
LIVE_SPEED, HEAD_START_S = 100.0, 60.0


@pytest.fixture(scope="module")
def reference(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Reference:
    """An undisturbed run that has loaded the history."""
    reference = Reference(tmp_path_factory.mktemp("reference"), SEASON)
    reference.load(HISTORY, MORNING)
    return reference


@pytest.fixture(scope="module")
def expected(reference: Reference) -> dict[Span, tuple[int, ...]]:
    return reference.counts([START, *SPANS.values()])


@pytest.fixture(scope="module")
def installation(new_installation: NewInstallation, expected: dict[Span, tuple[int, ...]]) -> Iterator[Installation]:
    """Started with deploy/up; the first span is loaded."""
    with new_installation("kafka") as installation:
        installation.override(SEASON, MORNING)
        installation.configure(settings(START, follow=False))
        installation.start()
        installation.wait_for_counts(START, expected[START])
        installation.measure_memory("loading")
        yield installation


def settings(span: Span, *, follow: bool) -> dict[str, str]:
    return {
        "COMPOSE_PROFILES": "kafka,simulator,observability",
        "HEADRACE_SOURCE": "simulator",
        "HEADRACE_BASE_URL": "http://simulator:8080",
        "HEADRACE_FROM": span.first.isoformat(),
        "HEADRACE_TO": span.last.isoformat(),
        "HEADRACE_FOLLOW": str(follow).lower(),
    }


def test_every_container_is_healthy_and_none_was_restarted(installation: Installation) -> None:
    states = {each.service: (each.state, each.health) for each in installation.containers()}

    assert states.pop("migrate") == ("exited", "")
    assert set(states) >= {*SERVICES, "postgres", "kafka", "simulator", "prometheus", "alertmanager"}
    assert set(states.values()) == {("running", "healthy")}
    assert not installation.restarts()


def test_every_container_has_limits_and_services_have_no_rights(installation: Installation) -> None:
    configurations = installation.configurations()
    limits = {
        name: (each["HostConfig"]["Memory"], each["HostConfig"]["PidsLimit"]) for name, each in configurations.items()
    }
    status = {
        service: installation.compose("exec", "--no-TTY", service, "cat", "/proc/self/status") for service in SERVICES
    }

    assert not {name: limit for name, limit in limits.items() if not all(limit)}
    for text in status.values():
        fields = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
        assert "0" not in fields["Uid"].split("\t")
        assert {int(fields[name], 16) for name in ("CapPrm", "CapEff", "CapBnd")} == {0}
        assert (fields["NoNewPrivs"], fields["Seccomp"]) == ("1", "2")


def test_prometheus_scrapes_all_services(installation: Installation) -> None:
    wait_until(lambda: installation.scraped() == dict.fromkeys(SERVICES, 1), "five targets")


def test_the_command_shows_the_services_and_their_lag(installation: Installation) -> None:
    status = installation.cli_json("status")
    lag = installation.cli_json("lag")
    windows = installation.cli_json("windows", "--limit", "1")

    assert {each["service"]: each["ready"] for each in status} == dict.fromkeys(SERVICES, True)
    # 0.0.0.0 would be the container of the command itself.
    assert not [each for each in status if "0.0.0.0" in each["admin_url"]]
    assert {each["service"] for each in lag} == {*SERVICES} - {"fetcher"}
    assert windows["windows"]


def test_the_command_pauses_and_resumes_a_service(installation: Installation) -> None:
    installation.cli("pause", "cleaner", "--all", "--wait")
    paused = [each for each in installation.cli_json("status") if each["service"] == "cleaner"]
    installation.cli("resume", "cleaner", "--all", "--wait")
    resumed = [each for each in installation.cli_json("status") if each["service"] == "cleaner"]

    assert [(each["state"], each["paused_partitions"]) for each in paused] == [("paused", paused[0]["partitions"])]
    assert [(each["state"], each["paused_partitions"]) for each in resumed] == [("running", 0)]


def test_a_training_makes_a_model_live(installation: Installation) -> None:
    process = installation.in_background("docker", "compose", "run", "--rm", "--no-TTY", "train")

    def ended() -> bool:
        installation.measure_memory("training")
        return process.poll() is not None

    started_s = time.monotonic()
    wait_until(ended, "the training", LONG_S, poll_s=POLL_S)
    installation.figures.add(f"train on {installation.counts(START)[1]} events: {time.monotonic() - started_s:.0f} s")

    assert process.returncode == 0, installation.output()
    models = installation.cli_json("models")
    assert [each["state"] for each in models] == ["live"]
    # Before the next record, the predictor says so.
    assert "is live" in str(installation.api("predictor", "/v1/status"))


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_while_records_flow_changes_no_row(
    installation: Installation, expected: dict[Span, tuple[int, ...]], name: str
) -> None:
    faults.load_with_fault(installation, SPANS[name], expected[SPANS[name]], FAULTS[name])


def test_prometheus_scrapes_every_replica(installation: Installation) -> None:
    faults.scale(REPLICAS)(installation)
    expected = dict.fromkeys(SERVICES, 1) | REPLICAS
    wait_until(lambda: installation.scraped() == expected, "all replicas")


def test_a_command_from_another_shell_does_not_change_the_broker(installation: Installation) -> None:
    process = installation.run("up", "--detach", "--wait", variables={"HEADRACE_BROKER": "embedded"})
    log = installation.compose("logs", "migrate")

    assert process.returncode != 0
    assert "this database is used with Kafka" in log
    installation.up()


def test_the_rows_of_the_history_are_those_of_an_undisturbed_run(
    installation: Installation, reference: Reference
) -> None:
    assert differences(reference.tables(TABLES), installation.tables(TABLES)) == []


def test_nothing_is_missing_or_twice(installation: Installation) -> None:
    report = installation.cli_json("audit")

    assert report["ok"], report
    assert report["fetched"] > 0


def test_a_live_day_with_crashes_is_predicted_and_notified(installation: Installation, reference: Reference) -> None:
    installation.override(SEASON, Clock(at(LIVE.first, 9), LIVE_SPEED, time.time() + HEAD_START_S))
    installation.configure(settings(LIVE, follow=True))
    installation.up()
    for service in SERVICES:
        wait_for_a_prediction(installation)
        installation.measure_memory("live")
        faults.crash(service)(installation)
    reference.load(LIVE, Clock(at(LIVE.next(1).first, 12), 1.0, time.time()))
    counts = reference.counts([LIVE])[LIVE]
    installation.wait_for_counts(LIVE, counts)

    # One for each state of knowledge and set of features.
    unique = "event_id, state, model_version, feature_hash"
    query = f"SELECT {unique} FROM facts.predictions GROUP BY {unique} HAVING count(*) > 1"
    assert installation.query(query) == []
    late = "FROM facts.predictions p JOIN facts.events e ON e.id = p.event_id WHERE as_of > scheduled_at"
    assert installation.query(f"SELECT count(*) {late}") == [[0]]


def wait_for_a_prediction(installation: Installation) -> None:
    def count() -> int:
        ((predictions,),) = installation.query("SELECT count(*) FROM facts.predictions")
        return int(predictions)

    before = count()
    wait_until(lambda: count() > before, "a prediction", LONG_S, poll_s=POLL_S)


def test_a_notification_is_sent_once(installation: Installation) -> None:
    """Of the live day. The log of the notifier begins with that day, because it got another container."""
    ledger = f"SELECT state, text FROM notifier.ledger WHERE event_key LIKE '%:{LIVE.first}:%'"
    unsent = f"{ledger} AND state IN ('pending', 'sending')"
    wait_until(lambda: not installation.query(unsent), "sent notifications", poll_s=POLL_S)
    notifications = installation.query(ledger)
    log = Counter(installation.compose("logs", "--no-log-prefix", "notifier").splitlines())
    sent = Counter(plain_text(text) for state, text in notifications if state == "sent")
    # Of a sender that was killed between sending and marking.
    unknown = Counter(plain_text(text) for state, text in notifications if state == "unknown")

    assert {state for state, _ in notifications} <= {"sent", "unknown"}
    single_lines = {text for text in sent | unknown if "\n" not in text}
    assert single_lines
    assert not {text for text in single_lines if not sent[text] <= log[text] <= sent[text] + unknown[text]}


def test_the_rows_after_the_live_day_are_those_of_an_undisturbed_run(
    installation: Installation, reference: Reference
) -> None:
    assert differences(reference.tables(FINAL), installation.tables(FINAL)) == []


def test_nothing_is_missing_or_twice_after_the_live_day(installation: Installation) -> None:
    report = installation.cli_json("audit")

    assert report["ok"], report
