"""Faults of single parts of the services: real objects, a real database and a real web server.

Each generator yields after it has changed something: how many minutes the new state lasts, and which alerts then fire.
The first state is a healthy one, the last one follows the recovery. test_alert_faults.py runs them.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from uuid import uuid4

import numpy as np
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from services.fetcher.__main__ import wire
from services.fetcher.fetch import Fetcher
from services.fetcher.gate.postgres_gate import reset_gate
from services.fetcher.planning.windows import Window
from services.fetcher.settings import FetcherSection, FetcherSettings
from services.loader.load import Loader
from services.loader.postgres_measurements import (
    loader_measurements,
    measure_audit,
    measure_parked,
    measure_quality,
    measure_started_events,
)
from services.notifier.sending_hold import SendingHold, SendingStatus
from services.notifier.storage.postgres_ledger import NewNotification, record_notifications
from services.notifier.storage.postgres_measurements import measure_waiting
from services.notifier.storage.postgres_sending_hold import close_address, open_addresses
from services.predictor.data.events import events_of
from services.predictor.features.history import History
from services.predictor.features.inputs import inputs_of
from services.predictor.model.active import ActiveModel
from services.predictor.monitoring.drift import Drift
from services.predictor.monitoring.postgres_scores import PostgresScores
from services.predictor.monitoring.scoring import Scoring
from services.predictor.serving.model_metrics import ModelMetrics
from services.predictor.storage.postgres_facts import read_settled
from shared.broker.contract import TopicPartition
from shared.broker.postgres.broker import PostgresBroker
from shared.broker.postgres.retention import enforce
from shared.database.connection import ReconnectingConnection
from shared.ops.holds import Hold
from shared.ops.orders import Orders
from shared.ops.tables import audit_results, quality_results
from shared.records import DecodedRecord
from shared.runtime.control.mailbox import ControlMailbox
from shared.runtime.control.partition_gate import PartitionGate
from shared.runtime.control_measurements import measure_background, measure_log_retention
from shared.runtime.dead_letters.breaker import Breaker
from shared.runtime.dead_letters.letter import FailedRecord
from shared.runtime.loops.batch import BatchResult
from shared.runtime.loops.metrics_of_unit import record_commit
from shared.runtime.loops.quarantine import ProcessEnded
from shared.runtime.measurements import Measurements
from shared.runtime.metrics import Metrics
from shared.runtime.process.watchdog import BackgroundWatch
from shared.runtime.service import PollerWork
from shared.settings.sections import ClockSettings, DatabaseSettings
from shared.topics import RAW, TopicSpec
from tests.processes import killed_at_end
from tests.services.fetcher.site import Site, serving_site, status
from tests.services.fetcher.synthetic_documents import FetcherDriver
from tests.services.loader.facts import StillClock, at, listed, live, prediction, received, settled
from tests.services.predictor.season import season, store
from tests.services.predictor.serving.small_serving_model import PROFILES, SmallDescription, SmallModel, model_of
from tests.services.predictor.settled_rows import TRUE, settle
from tests.waiting import wait_until

with warnings.catch_warnings():
    # discord.py imports audioop, which Python 3.13 dropped and 3.11 warns of.
    warnings.simplefilter("ignore", DeprecationWarning)
    from simulator.discord.fake import FakeDiscord
    from tests.services.notifier.bot.running import running_bot

HOUR, DAY = 60, 24 * 60
TODAY, YESTERDAY = date(2031, 5, 4), date(2031, 5, 3)
NOON = datetime(2031, 5, 4, 3, 0, tzinfo=UTC)
"""Noon of TODAY in the source's time zone (UTC+9)."""
FEEDS = ("programs", "previews", "results")


class Parts(NamedTuple):
    """What a fault may use. `database_url` is the owner's; the metrics of a service are created on use."""

    database_url: str
    connection: psycopg.Connection[Any]
    folder: Path
    metrics: Mapping[str, Metrics]


Step = tuple[int, set[str]]
"""Minutes, and the alerts that fire at their end."""

Fault = Callable[[Parts], Iterator[Step]]


def late_facts(parts: Parts) -> Iterator[Step]:
    loader = Loader(StillClock(), parts.metrics["loader"])

    def load(number: int, age_s: float) -> None:
        with parts.connection.transaction():
            loader.handle([live(listed(number), age_s)], parts.connection)

    load(1, 20)
    yield 0, set()
    load(2, 20)
    yield HOUR, set()
    load(3, 90)
    yield HOUR, {"FreshnessBurnsFast", "FreshnessBurnsSlowly"}
    load(4, 20)
    yield 6, {"FreshnessBurnsSlowly"}
    load(5, 20)
    yield HOUR, set()


def facts_without_their_event(parts: Parts) -> Iterator[Step]:
    """The documents that list the events are missing for two hours."""
    loader, measure = Loader(StillClock(), parts.metrics["loader"]), measure_parked(parts.metrics["loader"])

    def load(*facts: Any) -> None:
        with parts.connection.transaction():
            loader.handle([received(fact) for fact in facts], parts.connection)
        measure(parts.connection)

    load()
    yield HOUR, set()
    for number in range(1, 6):
        load(settled(number))
        yield 25, {"ParkedGrowing"} if number >= 3 else set()
    load(*(listed(number) for number in range(1, 6)))
    yield 5, set()


def database_settings(parts: Parts) -> DatabaseSettings:
    """Settings name the file of a password."""
    url = urlsplit(parts.database_url)
    file = parts.folder / "password"
    file.touch(mode=0o600)
    file.write_text(url.password or "")
    without_password = url._replace(netloc=f"{url.username}@{url.netloc.rpartition('@')[2]}")
    return DatabaseSettings(url=without_password.geturl(), password_file=file)


class FollowedSource:
    """A fetcher, created as its program creates it, that follows a web server from yesterday on."""

    def __init__(self, parts: Parts, site: Site) -> None:
        file = parts.folder / "meadow.yaml"
        file.write_text(
            "{extends: boatrace, name: meadow, retry: {tries: 1}, live: {poll_interval_s: 0.01, close_after_s: 0},"
            # The made-up events have neither values nor times.
            " completeness: {values: {programs: [], previews: [], results: []}}, cadence: null,"
            f" base_url: '{site.url}'}}"
        )
        settings = FetcherSettings(
            database=database_settings(parts),
            data_dir=parts.folder,
            clock=ClockSettings(start=NOON),
            fetcher=FetcherSection(source=str(file), from_date=YESTERDAY, follow=True),
        )
        self.site = site
        self._metrics, self._connection = parts.metrics["fetcher"], parts.connection
        self._service = wire(settings, self._metrics)
        assert isinstance(self._service.work, PollerWork)
        assert isinstance(self._service.work.source, Fetcher)
        self.fetcher = self._service.work.source
        self._driver = FetcherDriver(self.fetcher)

    def publish(self, feed: str, day: date, events: int, note: str = "") -> None:
        keys = {"race_date": day.isoformat(), "race_stadium_number": 7, "note": note}
        body = json.dumps({feed: [keys | {"race_number": number} for number in range(1, events + 1)]}).encode()
        self.site.pages[f"/{feed}/v2/{'today' if day == TODAY else f'{day:%Y/%Y%m%d}'}.json"] = body

    def fetch_until(self, condition: Callable[[], bool]) -> None:
        """Fetch, and measure the windows, until the condition is true."""

        def is_true() -> bool:
            self._driver.step(0.02)
            for measure in self._service.measurements:
                measure(self._connection)
            return condition()

        wait_until(is_true)

    def windows(self, state: str) -> float:
        return self._value("headrace_fetch_windows", state=state)

    def requests(self, answer: str) -> float:
        return self._value("headrace_fetch_requests_total", status=answer)

    def waits(self, reason: str) -> float:
        return self._metrics.registry.get_sample_value("headrace_fetch_wait_seconds", {"reason": reason}) or 0.0

    def end_wait(self) -> None:
        """As an operator does; then start over, because the fetcher asks again after half a minute only."""
        assert reset_gate(self._connection, self.site.url.removeprefix("http://"))
        self._driver = FetcherDriver(self.fetcher, self._driver.cursors)

    def close(self) -> None:
        self.fetcher.close()

    def _value(self, name: str, **labels: str) -> float:
        return self._metrics.registry.get_sample_value(name, {"source": "meadow", **labels}) or 0.0


@contextmanager
def followed_source(parts: Parts) -> Iterator[FollowedSource]:
    """The programmes and previews of yesterday are complete; its results are not published yet."""
    with serving_site() as site, closing(FollowedSource(parts, site)) as source:
        for feed in FEEDS[:2]:
            source.publish(feed, YESTERDAY, 12)
        source.fetch_until(lambda: source.windows("done") == 2 and source.windows("missing") == 1)
        yield source


def invalid_document(parts: Parts) -> Iterator[Step]:
    with followed_source(parts) as source:
        yield HOUR, set()
        source.site.pages[f"/results/v2/{YESTERDAY:%Y/%Y%m%d}.json"] = b"{"
        source.fetch_until(lambda: source.windows("failed") == 1)
        yield 3 * HOUR + 15, {"WindowFailed"}
        source.publish("results", YESTERDAY, 12)
        source.fetch_until(lambda: source.windows("done") == 3)
        yield 30, set()


def incomplete_document(parts: Parts) -> Iterator[Step]:
    with followed_source(parts) as source:
        yield HOUR, set()
        source.publish("results", YESTERDAY, 9)
        source.fetch_until(lambda: source.windows("suspect") == 1)
        yield 6 * HOUR + 15, {"WindowSuspect"}
        source.publish("results", YESTERDAY, 12)
        source.fetcher.backfill("again", [Window("results", YESTERDAY)], again=True)
        source.fetch_until(lambda: source.windows("suspect") == 0)
        yield 30, set()


def refused_requests(parts: Parts) -> Iterator[Step]:
    with followed_source(parts) as source:
        yield HOUR, set()
        source.site.answers["/results/v2/today.json"].extend([status(403)] * 3)
        source.fetch_until(lambda: source.requests("refused") == 3)
        yield 45, {"SourceRefuses"}
        source.publish("results", TODAY, 12)
        source.fetch_until(lambda: source.windows("failed") == 0)
        yield HOUR, set()


def throttling_source(parts: Parts) -> Iterator[Step]:
    with followed_source(parts) as source:
        yield HOUR, set()
        source.site.answers["/results/v2/today.json"].append(lambda handler: handler.answer(429, Retry_After="7200"))
        source.fetch_until(lambda: source.waits("retry-after") > 0)
        yield 45, {"SourceWaits"}
        source.end_wait()
        source.publish("results", TODAY, 12)
        source.fetch_until(lambda: source.waits("retry-after") == 0 and source.windows("failed") == 0)
        yield HOUR, set()


def source_without_documents(parts: Parts) -> Iterator[Step]:
    with followed_source(parts) as source:

        def publish(version: str) -> None:
            documents = source.requests("document")
            source.publish("programs", TODAY, 12, version)
            source.fetch_until(lambda: source.requests("document") > documents)

        publish("first")
        yield HOUR, set()
        source.site.pages.clear()
        absences = source.requests("not published")
        source.fetch_until(lambda: source.requests("not published") > absences)
        yield DAY + HOUR, {"NoDocument"}
        publish("second")
        yield 30, set()


def events_without_a_prediction(parts: Parts) -> Iterator[Step]:
    """At 45 minutes, the events 1 and 2 have started."""
    metrics = parts.metrics["loader"]
    loader, measure = Loader(StillClock(), metrics), measure_started_events(metrics, StillClock(at(45)))

    def handle(*items: DecodedRecord) -> None:
        with parts.connection.transaction():
            loader.handle(items, parts.connection)
        measure(parts.connection)

    ModelMetrics(parts.metrics["predictor"]).publish("m1", [], Drift())
    handle(received(listed(1)))
    handle(prediction(1))
    yield HOUR, set()
    handle(received(listed(2)))
    yield 10, {"EventsWithoutPrediction"}
    handle(prediction(2))
    yield 10, set()


def bad_predictions(parts: Parts) -> Iterator[Step]:
    """The live model is replaced by one that gives the winner a fifth of the base rate's probability."""
    settle(parts.connection, {"good": TRUE, "bad": -TRUE})
    models, link = (
        ModelMetrics(parts.metrics["predictor"]),
        ReconnectingConnection(parts.database_url, "scores", autocommit=True),
    )
    with closing(PostgresScores(link)) as facts:
        scoring = Scoring(facts)
        for live, minutes, firing in (
            ("good", 2 * HOUR, set()), ("bad", 75, {"ModelBehindBaseRate"}), ("good", 10, set[str]())
        ):  # fmt: skip
            description = SmallDescription(None, "2031-04-30", {})  # type: ignore[arg-type]  # no features are read
            scoring.score([], [ActiveModel(SmallModel(live, description), shadow=False)])
            models.publish(live, scoring.summaries(), Drift())
            yield minutes, firing


def drifted_features(parts: Parts) -> Iterator[Step]:
    """All numbers of the entries grow, as after a change of the source's units. Then a new model is trained."""
    store(parts.connection, season(4, 12, seed=21)[:36])
    events = events_of(read_settled(parts.connection), 6)
    history = History(PROFILES["made"])
    history.fold(events)
    model, drift, metrics = model_of(events), Drift(), ModelMetrics(parts.metrics["predictor"])
    inputs = inputs_of(events, history, model.description.encoding, "observation")  # as in the model's training set

    def predict(times: int, moved_by: float) -> None:
        for _ in range(times):
            drift.add(replace(inputs, entry=inputs.entry + np.float32(moved_by)), "card")
        metrics.publish("m1", [], drift)

    drift.compare_with(model)
    predict(10, 0)
    yield HOUR, set()
    predict(60, 40)
    yield 6 * HOUR + 15, {"FeatureDrift"}
    drift.compare_with(replace(model, version="20300302-00000001"))
    predict(0, 0)
    yield 10, set()


def revoked_right(parts: Parts) -> Iterator[Step]:
    """The loader may not read one of the tables that it measures, as after an incomplete migration."""
    url = make_conninfo(parts.database_url, options="-c role=headrace_loader")
    task = Measurements(
        url, "loader", parts.metrics["loader"], loader_measurements(parts.metrics["loader"], StillClock())
    )
    with closing(task):
        task.measure()
        yield 0, set()
        task.measure()
        yield HOUR, set()
        parts.connection.execute("REVOKE SELECT ON facts.parked FROM headrace_loader")
        task.measure()
        yield 15, {"MeasurementsStale"}
        parts.connection.execute("GRANT SELECT ON facts.parked TO headrace_loader")
        task.measure()
        yield 10, set()


def installation_without_audits(parts: Parts) -> Iterator[Step]:
    measure = measure_audit(parts.metrics["loader"])
    measure(parts.connection)
    yield 0, set()
    measure(parts.connection)
    yield 25 * HOUR, set()
    measure(parts.connection)
    yield 2 * HOUR, {"AuditOverdue"}
    audit_results.store(parts.connection, {"loaded": 1}, {"missing": 0})
    measure(parts.connection)
    yield 10, set()


def lost_session_of_the_bot(parts: Parts) -> Iterator[Step]:
    metrics = parts.metrics["notifier"]
    metrics.notifications_total.labels("discord-bot", "sent")
    with FakeDiscord() as fake, running_bot(fake, parts.database_url, parts.folder, metrics=metrics) as bot:
        wait_until(lambda: bot.measured("connected") == 1)
        yield 0, set()
        yield HOUR, set()
        fake.faults.gateway.delays_sessions = True
        fake.faults.drop_gateway()
        wait_until(lambda: bot.measured("connected") == 0)
        yield 15, {"BotDisconnected"}
        fake.faults.gateway.delays_sessions = False
        wait_until(lambda: bot.measured("connected") == 1)
        yield 5, set()


def poor_data(parts: Parts) -> Iterator[Step]:
    """Until the next report breaks no threshold."""
    measure, days = measure_quality(parts.metrics["loader"]), (date(2026, 1, 1), date(2026, 1, 31))
    quality_results.store(parts.connection, days, {"days": 0}, [])
    measure(parts.connection)
    yield 10, set()
    quality_results.store(parts.connection, days, {"days": 3}, ["days without events: 3"])
    measure(parts.connection)
    yield 10, {"QualityFindings"}
    quality_results.store(parts.connection, days, {"days": 0}, [])
    measure(parts.connection)
    yield 10, set()


# Measures a disk of 1 MB each time it receives a line: how many bytes its file has. The disk exists only in a mount
# namespace of the program.
_DISK_PROGRAM = """
import sys
from pathlib import Path
from shared.runtime.control_measurements import measure_disk
from shared.runtime.metrics import Metrics

folder, metrics = Path(sys.argv[1]), Metrics()
for line in sys.stdin:
    (folder / "archive").write_bytes(b"x" * int(line))
    measure_disk(folder, metrics)(None)
    sizes = [metrics.registry.get_sample_value(f"headrace_disk_{each}_bytes") for each in ("free", "size")]
    print(*sizes, flush=True)
"""
_MOUNT = 'mount -t tmpfs -o size=1m tmpfs "$0" && exec "$@" "$0"'


def full_disk(parts: Parts) -> Iterator[Step]:
    metrics = parts.metrics["loader"]
    command = ["unshare", "--map-root-user", "--mount"]
    if subprocess.run([*command, "true"], check=False, stderr=subprocess.DEVNULL).returncode:
        pytest.skip("the kernel allows no mount namespace, which a small disk needs")
    command += ["sh", "-c", _MOUNT, str(parts.folder)]
    arguments = [*command, sys.executable, "-c", _DISK_PROGRAM]
    with killed_at_end(
        subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    ) as program:
        for size_bytes, minutes, firing in ((500_000, HOUR, set()), (900_000, 15, {"DiskFull"}), (0, 5, set[str]())):
            free, size = map(float, _ask(program, f"{size_bytes}\n").split())
            metrics.disk_free_bytes.set(free)
            metrics.disk_size_bytes.set(size)
            yield minutes, firing


def _ask(program: subprocess.Popen[str], line: str) -> str:
    assert program.stdin is not None
    assert program.stdout is not None
    program.stdin.write(line)
    program.stdin.flush()
    return program.stdout.readline()


def stalled_task(parts: Parts) -> Iterator[Step]:
    now_s = 0.0
    watch = BackgroundWatch(clock=lambda: now_s)
    task = watch.stop_of("Sender.run", threading.Event())
    measure = measure_background(watch.still, parts.metrics["notifier"])
    measure(parts.connection)
    yield HOUR, set()
    now_s = 200.0
    measure(parts.connection)
    yield 5, {"BackgroundTaskStalled"}
    task.is_set()
    measure(parts.connection)
    yield 5, set()


def held_messages(parts: Parts) -> Iterator[Step]:
    metrics = parts.metrics["notifier"]
    status = SendingStatus(metrics.notifications_held.set)
    metrics.notifications_oldest_age_seconds.labels("console").set(0)
    status.update(None)
    yield HOUR, set()
    status.update(SendingHold(NOON, "the database went back"))
    metrics.notifications_oldest_age_seconds.labels("console").set(HOUR * 60)
    yield 10, {"NotificationsHeld"}
    metrics.notifications_oldest_age_seconds.labels("console").set(0)
    status.update(None)
    yield 5, set()


def closed_channel(parts: Parts) -> Iterator[Step]:
    measure = measure_waiting(parts.metrics["notifier"], ["slack"])
    measure(parts.connection)
    yield HOUR, set()
    close_address(parts.connection, "slack/races", "slack answered HTTP 404")
    record_notifications(parts.connection, [NewNotification(uuid4(), "tip", "k", "hello")], ["slack/races"])
    parts.connection.execute("UPDATE notifier.ledger SET created_at = now() - interval '1 hour'")
    measure(parts.connection)
    yield 10, {"ChannelClosed"}
    open_addresses(parts.connection, "slack/races")
    parts.connection.execute("DELETE FROM notifier.ledger")
    measure(parts.connection)
    yield 5, set()


def damaged_and_lost_records(parts: Parts) -> Iterator[Step]:
    mailbox = ControlMailbox(Orders())
    gate = PartitionGate("cleaner", (RAW,), mailbox, Breaker("cleaner"), parts.metrics["cleaner"])
    damaged, lost = TopicPartition(RAW, 0), TopicPartition(RAW, 1)
    yield HOUR, set()
    gate.hold(damaged, "damaged", {"message": "offset 7 cannot be decoded"})
    yield 5, {"PartitionDamaged"}
    gate.hold(lost, "lost", {"message": "3 records are gone"})
    yield 5, {"PartitionDamaged", "PartitionLost"}
    for hold in (Hold(damaged, "damaged", {}, 0, NOON), Hold(lost, "lost", {}, 0, NOON)):
        gate.end_hold(hold)
    yield 5, set()


def deadly_record(parts: Parts) -> Iterator[Step]:
    record = received(listed(1)).record
    failed = FailedRecord(record, ProcessEnded("ended the process 3 times"), "handle", 3)
    yield HOUR, set()
    record_commit(parts.metrics["loader"], "loader", [record] * 20, BatchResult(failures=[failed]), 0.1)
    yield 5, {"RecordQuarantined"}
    yield 2 * HOUR, set()


def records_that_retention_left(parts: Parts) -> Iterator[Step]:
    measure = measure_log_retention(parts.metrics["loader"])
    with closing(PostgresBroker(parts.database_url)) as broker:
        broker.ensure_topics([TopicSpec("one", 1, retention_s=3600)])
    measure(parts.connection)
    yield HOUR, set()
    parts.connection.execute(
        "INSERT INTO broker.log SELECT id, 0, n, 1, 0, (extract(epoch FROM now()) - 90000) * 1000, 'x'"
        " FROM broker.topics, generate_series(0, 9) n WHERE name = 'one'"
    )
    parts.connection.execute("UPDATE broker.partitions SET end_off = 10")
    measure(parts.connection)
    yield HOUR, {"RetentionLags"}
    while enforce(parts.connection):
        pass
    measure(parts.connection)
    yield 10, set()


FAULTS: dict[Fault, set[str]] = {
    late_facts: {"FreshnessBurnsFast", "FreshnessBurnsSlowly"},
    facts_without_their_event: {"ParkedGrowing"},
    invalid_document: {"WindowFailed"},
    incomplete_document: {"WindowSuspect"},
    refused_requests: {"SourceRefuses"},
    throttling_source: {"SourceWaits"},
    source_without_documents: {"NoDocument"},
    events_without_a_prediction: {"EventsWithoutPrediction"},
    bad_predictions: {"ModelBehindBaseRate"},
    drifted_features: {"FeatureDrift"},
    revoked_right: {"MeasurementsStale"},
    installation_without_audits: {"AuditOverdue"},
    poor_data: {"QualityFindings"},
    lost_session_of_the_bot: {"BotDisconnected"},
    full_disk: {"DiskFull"},
    stalled_task: {"BackgroundTaskStalled"},
    held_messages: {"NotificationsHeld"},
    closed_channel: {"ChannelClosed"},
    damaged_and_lost_records: {"PartitionDamaged", "PartitionLost"},
    deadly_record: {"RecordQuarantined"},
    records_that_retention_left: {"RetentionLags"},
}
"""Each fault and the alerts that report it."""
