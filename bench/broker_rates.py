"""Records per second, and which process they cost how much of a CPU."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import psutil

from bench.broker_site import MOST, PARTITIONS, Site, cpu_s, fill, new_topic, record
from bench.broker_workers import group_of
from shared.broker.contract import Broker

BATCH = 500
APPENDED = 100_000
START_LIMIT_S = 60.0
LOOK_EVERY_S = 0.05
BROKER = "broker"

Work = Callable[..., None]


@dataclass(frozen=True)
class Rate:
    """`cpu` is the share of one CPU that each process had while it lasted."""

    records_per_s: float
    cpu: dict[str, float]

    @property
    def cpu_us(self) -> float:
        """Microseconds of CPU for a record, of all processes but the broker's."""
        return sum(share for part, share in self.cpu.items() if part != BROKER) / self.records_per_s * 1e6


def append_rate(site: Site) -> Rate:
    """One process that appends units of BATCH."""
    us = psutil.Process()
    with closing(site.broker()) as broker:
        topic = new_topic(broker)
        units = [[record(topic, start + number) for number in range(BATCH)] for start in range(0, 10 * BATCH, BATCH)]
        with closing(broker.producer(f"append-{topic}")) as producer:
            before = cpu_s(us), site.server_cpu_s()
            started = time.perf_counter()
            for number in range(APPENDED // BATCH):
                with producer.unit() as unit:
                    unit.append(units[number % len(units)])
                    unit.commit()
            took_s = time.perf_counter() - started
            spent = {"appender": cpu_s(us) - before[0], BROKER: site.server_cpu_s() - before[1]}
    return Rate(APPENDED / took_s, {name: spent_s / took_s for name, spent_s in spent.items()})


def transform_rate(site: Site, work: Work, workers: int, records: int) -> Rate:
    """Worker processes that take all records of one topic and put them into another, each in units of up to MOST."""
    with closing(site.broker()) as broker:
        source, target = new_topic(broker), new_topic(broker)
        with working(site, work, workers, source, target) as (processes, go):
            fill(broker, source, records)
            _wait_until_visible(broker, source, records, site.marker)
            before = [cpu_s(process) for process in processes], site.server_cpu_s()
            started = time.perf_counter()
            go.set()
            while not _is_through(broker, source, site.marker):
                time.sleep(LOOK_EVERY_S)
            took_s = time.perf_counter() - started
            spent = {f"worker {number}": cpu_s(process) - before[0][number] for number, process in enumerate(processes)}
            spent[BROKER] = site.server_cpu_s() - before[1]
    return Rate(records / took_s, {name: spent_s / took_s for name, spent_s in spent.items()})


@contextmanager
def working(
    site: Site, work: Work, workers: int, source: str, target: str
) -> Iterator[tuple[list[psutil.Process], Any]]:
    """Processes that share the partitions and wait for `go`; ended at the end."""
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
                raise SystemExit("bench: the workers did not get their partitions; what they said is above")
        yield [psutil.Process(process.pid) for process in processes], go
    finally:
        for process in processes:
            process.kill()
            process.join()


def _wait_until_visible(broker: Broker, topic: str, records: int, marker: int) -> None:
    """A commit returns before its records are visible everywhere."""
    tps = broker.partitions(topic)
    transactions = -(-records // MOST)
    while sum(broker.end_offsets(tps).values()) < records + marker * transactions * len(tps):
        time.sleep(LOOK_EVERY_S)


def _is_through(broker: Broker, source: str, marker: int) -> bool:
    """Whether the group is at the last record: after it comes the end of its transaction, on Kafka."""
    done = broker.committed(group_of(source), [source])
    return all(done[tp] >= end - marker for tp, end in broker.end_offsets(list(done)).items())
