"""`make bench-replay`: measures the latency of live records with and without a replay at full speed.

It runs a PostgreSQL with the settings of `headrace run`, a cleaner and a loader as processes, and synthetic cards. Live
records are appended at a constant rate. The latency is the time from the commit of a raw event until a reader gets its
clean event, and until its rows are committed (with the loaded event). A round has one measurement without and one with
a replay of the history through cleaner and loader. The results are medians over the rounds.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import NamedTuple

import psycopg

from headrace.database.embedded import OWNER, EmbeddedPostgres
from shared.broker.contract import Broker, NewRecord
from shared.broker.postgres.broker import PostgresBroker
from shared.database.migrations import migrate
from shared.events import RawEvent, event_id_of
from shared.ops.operations import Operation
from shared.ops.replay_planning import plan_replay
from shared.ops.replays import request_of
from shared.ops.tables import operations as operations_table
from shared.ops.tables import replays as replays_table
from shared.records import LIVE, encode
from shared.topics import CLEAN, LOADED, RAW, topic_specs
from tests.services.cleaner.synthetic_slices import card, raw

HISTORY_BEGINS, LIVE_BEGINS = date(2031, 1, 1), date(2041, 1, 1)
VENUES, NUMBERS = 24, 12
UNIT = 2000
# Live records per unit.
TOGETHER = 4
GIVE_UP_S = 600.0


class Round(NamedTuple):
    """Sorted latencies in ms, to the clean event and to the rows; the replay's records per second, 0 without one."""

    clean_ms: list[float]
    rows_ms: list[float]
    replayed_per_s: float


class Listener:
    """Records when each live record of a topic arrives, in its own thread with its own reader."""

    def __init__(self, conninfo: str, topic: str) -> None:
        self.arrivals: dict[bytes, float] = {}
        self._stop = threading.Event()
        self._conninfo, self._topic = conninfo, topic
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()

    def _listen(self) -> None:
        with closing(PostgresBroker(self._conninfo)) as broker:
            tps = broker.partitions(self._topic)
            ends = broker.end_offsets(tps)
            with closing(broker.reader(tps)) as reader:
                for tp in tps:
                    reader.seek(tp, ends[tp])
                while not self._stop.is_set():
                    records = reader.poll(0.1, 5000)
                    now = time.perf_counter()
                    for record in records:
                        if record.headers["revision"] == LIVE.encode():
                            self.arrivals.setdefault(record.headers["event_id"], now)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.replay", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--history", type=int, default=50_000, help="records to replay (default: %(default)s)")
    parser.add_argument("--rate", type=int, default=200, help="live records per second (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=15.0, help="length of a measurement (default: %(default)s)")
    options = parser.parse_args()
    with running_pipeline(options.history) as (conninfo, broker):
        alone, beside, live = list[Round](), list[Round](), 0
        for turn in range(options.rounds):
            for results, replaying in ((alone, False), (beside, True)):
                results.append(measure(conninfo, broker, options.rate, options.seconds, live, replaying=replaying))
                live += len(results[-1].clean_ms)
                print_round(f"round {turn + 1}, {'with a replay' if replaying else 'without a replay'}", results[-1])
    for name, rounds in (("without a replay", alone), ("with a replay", beside)):
        print_latencies(f"{name}, to the clean event", [each.clean_ms for each in rounds])
        print_latencies(f"{name}, to the rows", [each.rows_ms for each in rounds])
    rate = statistics.median(each.replayed_per_s for each in beside)
    sys.stdout.write(f"the replay: {rate:.0f} records/s\n")


def print_latencies(what: str, rounds: list[list[float]]) -> None:
    p50, p99 = (statistics.median(percentile(waits_ms, share) for waits_ms in rounds) for share in (0.5, 0.99))
    sys.stdout.write(f"{what}: p50 {p50:.0f} ms, p99 {p99:.0f} ms\n")


def print_round(name: str, figures: Round) -> None:
    clean, rows = (
        f"p50 {percentile(ms, 0.5):.0f} ms, p99 {percentile(ms, 0.99):.0f} ms"
        for ms in (figures.clean_ms, figures.rows_ms)
    )
    sys.stderr.write(
        f"{name}: {len(figures.clean_ms)} live records; to the clean event {clean}; to the rows {rows};"
        f" replayed {figures.replayed_per_s:.0f} records/s\n"
    )


def percentile(waits_ms: list[float], share: float) -> float:
    return waits_ms[min(len(waits_ms) - 1, int(share * len(waits_ms)))]


@contextmanager
def running_pipeline(history: int) -> Iterator[tuple[str, Broker]]:
    """A broker with a cleaner and a loader that have processed the history."""
    with tempfile.TemporaryDirectory() as place, ExitStack() as stack:
        server = EmbeddedPostgres(Path(place))
        server.start()
        stack.callback(server.stop)
        conninfo = server.url_with_password()
        migrate(conninfo)
        broker = stack.enter_context(closing(PostgresBroker(conninfo)))
        broker.ensure_topics(topic_specs())
        for service in ("cleaner", "loader"):
            stack.enter_context(running_service(service, server, Path(place)))
        with closing(broker.producer("history")) as producer:
            for begin in range(0, history, UNIT):
                with producer.unit() as unit:
                    unit.append([raw_card(HISTORY_BEGINS, n) for n in range(begin, min(history, begin + UNIT))])
                    unit.commit()
        for service, topic in (("cleaner", RAW), ("loader", CLEAN)):
            wait_until(lambda service=service, topic=topic: lag_of(broker, service, topic) == 0)  # type: ignore[misc]
        yield conninfo, broker


@contextmanager
def running_service(service: str, server: EmbeddedPostgres, place: Path) -> Iterator[None]:
    environment = {
        "HEADRACE_DATABASE__URL": server.url(),
        "HEADRACE_DATABASE__PASSWORD_FILE": str(server.password_file(OWNER)),
        "HEADRACE_DATA_DIR": str(place),
        "HEADRACE_LOADER__EXPORTS": "false",
    }
    with (place / f"{service}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", f"services.{service}"], env={**os.environ, **environment}, stdout=log, stderr=log
        )
        try:
            yield
        finally:
            process.terminate()
            process.wait()


def measure(conninfo: str, broker: Broker, rate: int, for_s: float, first: int, *, replaying: bool) -> Round:
    with (
        closing(Listener(conninfo, CLEAN)) as clean,
        closing(Listener(conninfo, LOADED)) as rows,
        psycopg.connect(conninfo, autocommit=True) as connection,
    ):
        operation = start_replay(connection, broker) if replaying else None
        started_at, before = time.perf_counter(), selected_count(connection, operation)
        sent = send(broker, rate, for_s, first)
        elapsed_s, after = time.perf_counter() - started_at, selected_count(connection, operation)
        wait_until(lambda: sent.keys() <= rows.arrivals.keys())
        if operation is not None:
            operations_table.apply_command(connection, operation, "cancel")
            wait_until(lambda: not get_operation(connection, operation.id).is_open)
            for service, topic in (("cleaner", RAW), ("loader", CLEAN)):
                wait_until(lambda service=service, topic=topic: lag_of(broker, service, topic) == 0)  # type: ignore[misc]
        return Round(latencies_ms(sent, clean), latencies_ms(sent, rows), (after - before) / elapsed_s)


def start_replay(connection: psycopg.Connection[tuple[object, ...]], broker: Broker) -> Operation:
    """Start a replay of the history, and wait until it has handled its first records."""
    request = request_of({"topic": RAW, "keys": ["boatrace:203*"]})
    replay_plan = plan_replay(broker, request, [RAW])
    with connection.transaction():
        operation = replays_table.start(connection, "cleaner", replay_plan, "bench", "")
    wait_until(lambda: selected_count(connection, operation) > 0)
    return operation


def get_operation(connection: psycopg.Connection[tuple[object, ...]], operation_id: str) -> Operation:
    operation = operations_table.get(connection, operation_id)
    if operation is None:
        raise SystemExit(f"bench: operation {operation_id} does not exist any more")
    return operation


def selected_count(connection: psycopg.Connection[tuple[object, ...]], operation: Operation | None) -> int:
    return 0 if operation is None else int(get_operation(connection, operation.id).counts.get("selected", 0))


def send(broker: Broker, rate: int, for_s: float, first: int) -> dict[bytes, float]:
    """Append live records at a constant rate. Returns the commit time of each by event id."""
    sent: dict[bytes, float] = {}
    with closing(broker.producer("live")) as producer:
        started_at = time.perf_counter()
        for number in range(0, int(rate * for_s), TOGETHER):
            time.sleep(max(0.0, started_at + number / rate - time.perf_counter()))
            records = [raw_card(LIVE_BEGINS, first + number + each) for each in range(TOGETHER)]
            with producer.unit() as unit:
                unit.append(records)
                unit.commit()
            now = time.perf_counter()
            sent |= {record.headers["event_id"]: now for record in records}
    return sent


def latencies_ms(sent: dict[bytes, float], listener: Listener) -> list[float]:
    return sorted(max(0.0, listener.arrivals[event_id] - at_s) * 1000 for event_id, at_s in sent.items())


def lag_of(broker: Broker, service: str, topic: str) -> int:
    positions = broker.committed(service, [topic])
    return sum(broker.end_offsets(list(positions)).values()) - sum(positions.values())


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + GIVE_UP_S
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"bench: a condition was not met within {GIVE_UP_S:.0f} s")
        time.sleep(0.02)


def raw_card(begins: date, number: int) -> NewRecord:
    """The card of a different event for each number."""
    day = (begins + timedelta(days=number // (VENUES * NUMBERS))).isoformat()
    venue, event = 1 + number // NUMBERS % VENUES, 1 + number % NUMBERS
    body = card(race_date=day, race_stadium_number=venue, race_number=event, race_closed_at=f"{day} 12:34:00")
    message: RawEvent = raw("programs", body, event_key=f"boatrace:{day}:{venue:02d}:{event:02d}")
    event_id = event_id_of("boatrace", "programs", message.event_key, "bench")
    return encode(message, RAW, "raw-event/1", event_id, "fetcher")


if __name__ == "__main__":
    main()
