"""Measures records per second, and the share of a CPU that each process uses."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import psutil

from bench.broker_site import MAX_UNIT_RECORDS, PARTITIONS, BrokerSite, cpu_s, fill, new_topic, record
from bench.broker_workers import group_of
from shared.broker.contract import Broker

BATCH = 500
APPENDED = 100_000
START_LIMIT_S = 60.0
POLL_INTERVAL_S = 0.05
BROKER = "broker"

Work = Callable[..., None]


@dataclass(frozen=True)
class MeasuredRate:
    """A measured rate. `cpu` is the share of one CPU that each process used during the measurement."""

    records_per_s: float
    cpu: dict[str, float]

    @property
    def cpu_us(self) -> float:
        """CPU time per record in microseconds, of all processes except the broker's."""
        return sum(share for part, share in self.cpu.items() if part != BROKER) / self.records_per_s * 1e6


def append_rate(site: BrokerSite) -> MeasuredRate:
    """The rate of one process that appends units of BATCH records."""
    process = psutil.Process()
    with closing(site.broker()) as broker:
        topic = new_topic(broker)
        units = [[record(topic, start + number) for number in range(BATCH)] for start in range(0, 10 * BATCH, BATCH)]
        with closing(broker.producer(f"append-{topic}")) as producer:
            before = cpu_s(process), site.server_cpu_s()
            started = time.perf_counter()
            for number in range(APPENDED // BATCH):
                with producer.unit() as unit:
                    unit.append(units[number % len(units)])
                    unit.commit()
            elapsed_s = time.perf_counter() - started
            cpu_seconds = {"appender": cpu_s(process) - before[0], BROKER: site.server_cpu_s() - before[1]}
    return MeasuredRate(APPENDED / elapsed_s, {name: spent_s / elapsed_s for name, spent_s in cpu_seconds.items()})


def transform_rate(site: BrokerSite, work: Work, workers: int, records: int) -> MeasuredRate:
    """The rate of worker processes that copy all records of a topic to another in units of up to MAX_UNIT_RECORDS."""
    with closing(site.broker()) as broker:
        source, target = new_topic(broker), new_topic(broker)
        with running_workers(site, work, workers, source, target) as (processes, go):
            fill(broker, source, records)
            _wait_until_visible(broker, source, records, site.marker)
            before = [cpu_s(process) for process in processes], site.server_cpu_s()
            started = time.perf_counter()
            go.set()
            while not _is_finished(broker, source, site.marker):
                time.sleep(POLL_INTERVAL_S)
            elapsed_s = time.perf_counter() - started
            cpu_seconds = {
                f"worker {number}": cpu_s(process) - before[0][number] for number, process in enumerate(processes)
            }
            cpu_seconds[BROKER] = site.server_cpu_s() - before[1]
    return MeasuredRate(records / elapsed_s, {name: spent_s / elapsed_s for name, spent_s in cpu_seconds.items()})


@contextmanager
def running_workers(
    site: BrokerSite, work: Work, workers: int, source: str, target: str
) -> Iterator[tuple[list[psutil.Process], Any]]:
    """Worker processes that share the partitions and wait for the event `go`. They are killed at the end."""
    spawn = multiprocessing.get_context("spawn")
    ready, go = spawn.Semaphore(0), spawn.Event()
    processes = [
        spawn.Process(target=work, args=(site, source, target, f"w{w}", PARTITIONS // workers, ready, go), daemon=True)
        for w in range(workers)
    ]
    try:
        for process in processes:
            process.start()
        for _ in processes:
            if not ready.acquire(timeout=START_LIMIT_S):
                raise SystemExit("bench: the workers did not get their partitions; see their output above")
        yield [psutil.Process(process.pid) for process in processes], go
    finally:
        for process in processes:
            process.kill()
            process.join()


def _wait_until_visible(broker: Broker, topic: str, records: int, marker: int) -> None:
    """Wait until all records are visible, because a commit may return earlier."""
    tps = broker.partitions(topic)
    transactions = -(-records // MAX_UNIT_RECORDS)
    while sum(broker.end_offsets(tps).values()) < records + marker * transactions * len(tps):
        time.sleep(POLL_INTERVAL_S)


def _is_finished(broker: Broker, source: str, marker: int) -> bool:
    """Whether the group has committed the last record. On Kafka a transaction marker follows that record."""
    positions = broker.committed(group_of(source), [source])
    return all(positions[tp] >= end - marker for tp, end in broker.end_offsets(list(positions)).items())
