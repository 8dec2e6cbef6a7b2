"""A pipeline to measure: servers of its own, the services as processes, and orders that start each stage at one moment.

A stage is paused before its replicas start, and resumed once each of them holds its share of the partitions. So the
start of the processes is not measured.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import psutil

from bench.kafka_server import RunningKafka, running_kafka
from bench.scale_figures import IdleCost, StageCost, StorageSize
from headrace.database.access import Access, open_broker, open_database, prepare
from headrace.database.data_dir import DataDir
from headrace.progress.observer import Observer
from headrace.progress.positions import waiting_for
from headrace.run.options import RunOptions
from headrace.run.programs import service_environment
from shared.broker.contract import Broker, OffsetRange
from shared.ops.orders import DesiredState
from shared.ops.tables.orders import live_replicas
from shared.ops.tables.steering import steer
from shared.settings.sections import BrokerSettings, Settings
from shared.settings.values import read_secret
from shared.topics import CLEAN, FETCHER_CURSORS, LOADED, RAW, SERVICES

FIRST_DAY = date(2020, 1, 1)
VENUES = 24
GIVE_UP_S = 900.0
POLL_INTERVAL_S = 0.2
IDLE_FOR_S = 20.0
# The topic whose order holds a stage.
STEERED = {"fetcher": RAW, "cleaner": RAW, "loader": CLEAN, "predictor": LOADED, "notifier": LOADED}
ROOT = Path(__file__).parents[1]


class FailedMeasurement(Exception):
    """A measurement that is left out, usually because the machine was too busy."""


@dataclass(frozen=True)
class PipelineSite:
    """Servers with an empty, prepared database, and the options of the fetcher."""

    access: Access
    observer: Observer
    broker: Broker
    place: Path
    kafka: RunningKafka | None
    options: RunOptions

    @property
    def broker_url(self) -> str:
        return f"kafka://{self.kafka.address}" if self.kafka else "embedded"


@contextmanager
def pipeline_site(broker: str, days: int) -> Iterator[PipelineSite]:
    """New servers for one measurement. `broker` is "embedded" or "kafka". The source is a load at the highest rate."""
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder, ExitStack() as stack:
        place = Path(folder)
        place.chmod(0o755)  # the server runs as another user
        kafka = stack.enter_context(running_kafka(None)) if broker == "kafka" else None
        url = f"kafka://{kafka.address}" if kafka else "embedded"
        settings = Settings(data_dir=place / "data", broker=BrokerSettings(url=url))
        data_dir = DataDir(settings.data_dir)
        data_dir.create()
        token = read_secret(data_dir.create_token())
        access = stack.enter_context(open_database(settings))
        prepare(access, settings)
        observer = stack.enter_context(closing(Observer(access, settings, token)))
        connected = stack.enter_context(open_broker(access, settings, "headrace bench"))
        base_url = stack.enter_context(running_load(place, days))
        last_day = FIRST_DAY + timedelta(days=days - 1)
        options = RunOptions("simulator", base_url=base_url, from_date=FIRST_DAY, to_date=last_day)
        yield PipelineSite(access, observer, connected, place, kafka, options)


@contextmanager
def running_load(place: Path, days: int) -> Iterator[str]:
    """The address of a load generator that publishes everything at once."""
    port_file = place / "url"
    options = ("--sources", str(VENUES), "--rate", "1000", "--from", str(FIRST_DAY), "--days", str(days))
    with running_process(["-m", "headrace", "simulate", *options, "--port-file", str(port_file)], {}, place / "load"):
        wait_until(port_file.exists, "the load generator to listen")
        yield port_file.read_text().strip()


@contextmanager
def running_process(arguments: list[str], environment: Mapping[str, str], log: Path) -> Iterator[psutil.Process]:
    with log.open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, *arguments], env={**os.environ, **environment}, cwd=ROOT, stdout=out, stderr=out
        )
        try:
            yield psutil.Process(process.pid)
        finally:
            process.terminate()
            process.wait()


@contextmanager
def running_replicas(site: PipelineSite, service: str, replicas: int) -> Iterator[list[psutil.Process]]:
    """The replicas of a service, paused and with their partitions."""
    give_order(site, service, "paused")
    with ExitStack() as stack:
        processes = []
        for slot in range(replicas):
            environment = service_environment(
                site.access,
                DataDir(site.place / "data"),
                site.options,
                follow=False,
                config=None,
                broker_url=site.broker_url,
                service=service,
                slot=slot,
            )
            log = site.place / f"{service}-{slot}.log"
            processes.append(stack.enter_context(running_process(["-m", f"services.{service}"], environment, log)))
        wait_until(lambda: is_paused(site, service, replicas), f"the {service} to pause")
        yield processes


def give_order(site: PipelineSite, service: str, desired: DesiredState) -> None:
    connection = site.observer.connection
    with connection.transaction():
        steer(connection, service, [STEERED[service]], desired, who="bench", request_id="")


def is_paused(site: PipelineSite, service: str, replicas: int) -> bool:
    """Whether each replica has its share of the partitions and all of them are paused."""
    topic = STEERED[service]
    observed = [each for each in live_replicas(site.observer.connection, service).observed if each.tp.topic == topic]
    partitions = 1 if service == "fetcher" else Settings().broker.partitions
    shares = Counter(each.replica for each in observed)
    is_shared = len(observed) == partitions and set(shares.values()) == {partitions // replicas}
    return is_shared and all(each.state == "paused" for each in observed)


def measure_stage(site: PipelineSite, service: str, replicas: int) -> StageCost:
    """Resume a stage and measure until it has handled all records that wait for it."""
    with running_replicas(site, service, replicas) as processes:
        return measure(site, [service], processes, lambda: is_done(site, service))


@contextmanager
def running_pipeline(site: PipelineSite, replicas: int) -> Iterator[dict[str, list[psutil.Process]]]:
    """All five services, paused, cleaner and loader with several replicas."""
    with ExitStack() as stack:
        counts = {service: replicas if service in {"cleaner", "loader"} else 1 for service in SERVICES}
        yield {
            service: stack.enter_context(running_replicas(site, service, count)) for service, count in counts.items()
        }


def measure_together(site: PipelineSite, processes: dict[str, list[psutil.Process]]) -> StageCost:
    """Resume all services at once and measure until everything is in the tables."""
    everyone = [process for each in processes.values() for process in each]
    return measure(site, SERVICES, everyone, lambda: waiting_for(site.observer.reading(exports=False)) is None)


def measure_idle(site: PipelineSite, processes: dict[str, list[psutil.Process]]) -> IdleCost:
    """Measure services that have nothing to do."""
    everyone = [process for each in processes.values() for process in each]
    before, started_s = total_cpu_s(site, everyone), time.perf_counter()
    time.sleep(IDLE_FOR_S)
    elapsed_s = time.perf_counter() - started_s
    shares = [(late - early) / elapsed_s for late, early in zip(total_cpu_s(site, everyone), before, strict=True)]
    server = site.access.server
    postgres = psutil.Process(server.pid()) if server is not None else None
    return IdleCost(
        replica_cpu=shares[0] / len(everyone),
        postgres_cpu=shares[1],
        kafka_cpu=shares[2],
        replica_mb={service: resident_mb(each[0]) for service, each in processes.items()},
        postgres_mb=tree_mb(postgres) if postgres else 0.0,
        kafka_mb=resident_mb(psutil.Process(site.kafka.pid)) if site.kafka else 0.0,
    )


def measure(
    site: PipelineSite, services: Sequence[str], processes: list[psutil.Process], done: Callable[[], bool]
) -> StageCost:
    """The CPU time includes that of the daily files, which the loader writes after its last record."""
    peaks_mb = [0.0] * len(processes)

    def is_done() -> bool:
        for number, process in enumerate(processes):
            peaks_mb[number] = max(peaks_mb[number], resident_mb(process))
        return done()

    before = total_cpu_s(site, processes)
    started_s = time.perf_counter()
    for service in services:
        give_order(site, service, "running")
    wait_until(is_done, f"{', '.join(services)} to handle all records")
    elapsed_s = time.perf_counter() - started_s
    require_all_windows(site, services)
    if "loader" in services:
        wait_until(lambda: site.observer.reading(exports=True).exports_open == 0, "the daily files")
    spent_s = (late - early for late, early in zip(total_cpu_s(site, processes), before, strict=True))
    cpu_s, postgres_cpu_s, kafka_cpu_s = spent_s
    connections = count_connections(site, services) / len(processes)
    return StageCost(
        count_records(site, STEERED[services[0]]),
        elapsed_s,
        cpu_s,
        postgres_cpu_s,
        kafka_cpu_s,
        max(peaks_mb),
        connections,
    )


def require_all_windows(site: PipelineSite, services: Sequence[str]) -> None:
    """Raises FailedMeasurement if the fetcher gave up a document, because the load generator answered too late."""
    report = site.observer.fetcher() if "fetcher" in services else None
    if report is not None and report.failed:
        raise FailedMeasurement(f"{len(report.failed)} windows failed, the first with {report.failed[0].get('error')}")


def total_cpu_s(site: PipelineSite, processes: list[psutil.Process]) -> tuple[float, float, float]:
    """CPU time so far of the replicas, PostgreSQL and Kafka."""
    server = site.access.server
    postgres = psutil.Process(server.pid()) if server is not None else None
    kafka = psutil.Process(site.kafka.pid) if site.kafka else None
    replicas_s = sum(tree_cpu_s(process) for process in processes)
    return replicas_s, tree_cpu_s(postgres) if postgres else 0.0, tree_cpu_s(kafka) if kafka else 0.0


def resident_mb(process: psutil.Process) -> float:
    return float(process.memory_info().rss) / 1e6


def tree_mb(process: psutil.Process) -> float:
    """Memory of a process and its children, in which shared pages count once in total."""
    total = 0
    for each in (process, *process.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            total += each.memory_full_info().pss
    return total / 1e6


def tree_cpu_s(process: psutil.Process) -> float:
    """CPU time of a process, of its children, and of children that have ended."""
    total_s = 0.0
    for each in (process, *process.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            total_s += sum(each.cpu_times()[:4])
    return total_s


def is_done(site: PipelineSite, service: str) -> bool:
    """Whether a stage has handled all records that exist."""
    if service == "fetcher":
        report = site.observer.fetcher()
        return report is not None and report.exhausted
    positions = site.observer.positions()
    return positions.lag(service) == 0 and (service != "loader" or positions.outbox == 0)


def count_records(site: PipelineSite, topic: str) -> int:
    tps = site.broker.partitions(topic)
    begins, ends = site.broker.begin_offsets(tps), site.broker.end_offsets(tps)
    return sum(site.observer.record_count.count([OffsetRange(tp, begins[tp], ends[tp]) for tp in tps]).values())


def count_connections(site: PipelineSite, services: Sequence[str]) -> int:
    row = site.observer.connection.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE usename = ANY(%s)", ([f"headrace_{each}" for each in services],)
    ).fetchone()
    return int(row[0]) if row else 0


def measure_storage(site: PipelineSite, days: int) -> StorageSize:
    """The bytes that the records take in topics, tables and files. Sizes of tables include indexes and TOAST."""
    connection = site.observer.connection
    connection.execute("VACUUM ANALYZE")
    rows = connection.execute(
        "SELECT schemaname || '.' || relname, n_live_tup, pg_total_relation_size(relid) FROM pg_stat_user_tables"
        " WHERE schemaname = 'facts' AND n_live_tup > 0 ORDER BY 3 DESC"
    ).fetchall()
    cursors = site.broker.cursors(FETCHER_CURSORS)
    return StorageSize(
        days=days,
        events=days * VENUES * 12,
        topics={topic: (count_records(site, topic), topic_bytes(site, topic)) for topic in (RAW, CLEAN, LOADED)},
        tables={str(name): (int(live), int(size)) for name, live, size in rows},
        archive_bytes=folder_bytes(site.place / "data" / "archive"),
        export_bytes=folder_bytes(site.place / "data" / "exports"),
        cursor_bytes=sum(len(value) for value in cursors.values()),
    )


def topic_bytes(site: PipelineSite, topic: str) -> int:
    """On Kafka, the size of its log files. On the embedded log, that of its rows without indexes."""
    if site.kafka is None:
        return site.broker.stored_bytes(topic) or 0
    assert site.kafka.data is not None  # this program started it
    return sum(path.stat().st_size for path in site.kafka.data.glob(f"{topic}-*/*.log"))


def folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline_s = time.monotonic() + GIVE_UP_S
    while not condition():
        if time.monotonic() > deadline_s:
            raise FailedMeasurement(f"gave up after {GIVE_UP_S:.0f} s of waiting for {what}")
        time.sleep(POLL_INTERVAL_S)
