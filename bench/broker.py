"""How fast the embedded broker is: `python -m bench.broker [ROUNDS]`. Numbers are medians over the rounds.

Everything runs on a PostgreSQL of its own with the settings that `headrace run` uses (fsync on). Workers are processes.
"""

from __future__ import annotations

import multiprocessing
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from uuid import uuid4

from headrace.embedded import EmbeddedPostgres
from shared.broker.contract import NewRecord, TopicPartition
from shared.broker.postgres_broker import PostgresBroker
from shared.errors import Fenced, TransientError
from shared.migrations import migrate
from shared.topics import TopicSpec

ROUNDS = 3
BATCH = 500
APPENDED = 100_000
TRANSFORMED = 200_000
PARTITIONS = 6
# A unit of the consumer loop when it is behind.
MOST = 2000
WAKE_UPS = 100
HEADERS = {
    "event_id": b"0" * 36, "schema": b"raw-event/1", "traceparent": b"0" * 55, "revision": b"0", "source": b"bench"
}  # fmt: skip


def record(topic: str, number: int, size_bytes: int) -> NewRecord:
    """Half of the value is as compressible as JSON is, half is not."""
    noise = os.urandom(size_bytes // 4).hex().encode()
    return NewRecord(topic, f"event:{number % 997}".encode(), noise + b'{"a":1}' * (size_bytes // 14), HEADERS)


def topic_of(broker: PostgresBroker) -> str:
    name = f"bench-{uuid4().hex}"
    broker.ensure_topics([TopicSpec(name, PARTITIONS, None)])
    return name


def append_rate(broker: PostgresBroker, size_bytes: int) -> float:
    """Records per second of one process that appends units of BATCH."""
    topic = topic_of(broker)
    units = [[record(topic, number, size_bytes) for number in range(BATCH)] for _ in range(10)]
    with closing(broker.producer("bench")) as producer:
        started = time.perf_counter()
        for number in range(APPENDED // BATCH):
            with producer.unit() as unit:
                unit.append(units[number % len(units)])
                unit.commit()
        return APPENDED / (time.perf_counter() - started)


def transform_rate(broker: PostgresBroker, url: str, workers: int) -> float:
    """Records per second that worker processes take from one topic and append to another, each in units of its own."""
    source, target = topic_of(broker), topic_of(broker)
    with closing(broker.producer("bench")) as producer:
        for start in range(0, TRANSFORMED, MOST):
            with producer.unit() as unit:
                unit.append([record(source, start + number, 100) for number in range(MOST)])
                unit.commit()
    spawn = multiprocessing.get_context("spawn")
    go = spawn.Event()
    ready = spawn.Semaphore(0)
    processes = [
        spawn.Process(target=transform, args=(url, source, target, str(w), PARTITIONS // workers, ready, go))
        for w in range(workers)
    ]
    for process in processes:
        process.start()
    for _ in processes:
        ready.acquire()
    started = time.perf_counter()
    go.set()
    tps = broker.partitions(target)
    while sum(broker.end_offsets(tps).values()) < TRANSFORMED:
        time.sleep(0.01)
    took_s = time.perf_counter() - started
    for process in processes:
        process.terminate()
        process.join()
    return TRANSFORMED / took_s


def transform(url: str, source: str, target: str, slot: str, share: int, ready: object, go: object) -> None:
    """A worker: what the consumer loop does, less handler and metrics."""
    broker = PostgresBroker(url)
    producer = broker.producer(f"{source}-{slot}")
    consumer = broker.consumer(f"group-{source}", [source], slot)
    while len(consumer.assignment()) != share:
        consumer.poll(0.05, 0)
    ready.release()  # type: ignore[attr-defined]
    go.wait()  # type: ignore[attr-defined]
    while True:
        polled = consumer.poll(0.5, MOST)
        if not polled.records:
            continue
        try:
            with producer.unit() as unit:
                unit.append([NewRecord(target, each.key, each.value, each.headers) for each in polled.records])
                unit.advance(
                    polled.token,
                    {TopicPartition(each.topic, each.partition): each.offset + 1 for each in polled.records},
                )
                unit.commit()
        except (Fenced, TransientError):
            consumer.reload()


def wake_ups_ms(broker: PostgresBroker) -> list[float]:
    """From the moment a commit has returned to the moment an idle poll gives its record."""
    topic = topic_of(broker)
    waits_ms = []
    with (
        closing(broker.consumer(f"group-{topic}", [topic], "0")) as consumer,
        closing(broker.producer("bench")) as producer,
    ):
        while not consumer.assignment():
            consumer.poll(0.05, 1)
        for number in range(WAKE_UPS):
            committed_at: list[float] = []

            def commit(number: int = number, told: list[float] = committed_at) -> None:
                time.sleep(0.02)  # the poll waits by then
                with producer.unit() as unit:
                    unit.append([record(topic, number, 100)])
                    unit.commit()
                told.append(time.perf_counter())

            thread = threading.Thread(target=commit)
            thread.start()
            while not consumer.poll(5, 10).records:
                pass
            woken_at = time.perf_counter()
            thread.join()
            waits_ms.append(max(0.0, woken_at - committed_at[0]) * 1000)
    return waits_ms


@contextmanager
def server() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as directory:
        Path(directory).chmod(0o755)  # the server runs as a user of its own
        postgres = EmbeddedPostgres(Path(directory) / "data")
        postgres.start()
        try:
            migrate(postgres.url_with_password())
            yield postgres.url_with_password()
        finally:
            postgres.stop()


def main(rounds: int) -> None:
    measured: dict[str, list[float]] = {}
    with server() as url, closing(PostgresBroker(url)) as broker:
        for number in range(rounds):
            sys.stderr.write(f"round {number + 1} of {rounds}\n")
            waits_ms = sorted(wake_ups_ms(broker))
            for name, value in (
                (f"append, 100-byte records, units of {BATCH}: records/s", append_rate(broker, 100)),
                (f"append, 2,400-byte records, units of {BATCH}: records/s", append_rate(broker, 2400)),
                ("consume-transform-append, 1 worker: records/s", transform_rate(broker, url, 1)),
                ("consume-transform-append, 2 workers: records/s", transform_rate(broker, url, 2)),
                ("wake-up of an idle poll, p50: ms", statistics.median(waits_ms)),
                ("wake-up of an idle poll, p99: ms", waits_ms[int(len(waits_ms) * 0.99)]),
            ):
                measured.setdefault(name, []).append(value)
    print(f"{'embedded broker':58} {'median':>10} {'lowest':>10} {'highest':>10}")
    for name, values in measured.items():
        print(f"{name:58} {statistics.median(values):10,.1f} {min(values):10,.1f} {max(values):10,.1f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS)
