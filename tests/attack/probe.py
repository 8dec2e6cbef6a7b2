"""Measures what an attack could slow down: live records on their way to rows, and an operator's requests."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from types import TracebackType
from typing import NamedTuple, Self

import httpx2

from bench.replay import LIVE_BEGINS, Listener, percentile, raw_card
from shared.broker.postgres.broker import PostgresBroker
from shared.topics import LOADED
from tests.attack.live_day import Service
from tests.waiting import wait_until

# Live records per second, and requests of the operator.
RECORDS_PER_S, REQUESTS_PER_S = 10, 10
PATHS = ("/v1/status", "/v1/topics", "/v1/operations", "/v1/lag", "/livez")
# Beyond it, a record counts as lost.
ARRIVAL_LIMIT_S = 300.0


class Latencies(NamedTuple):
    """Sorted, in ms; `refused`: answers to the operator that were not 200."""

    records_ms: list[float]
    requests_ms: list[float]
    refused: list[str]

    def text(self) -> str:
        return "; ".join(
            f"{name}: {len(ms)}, p50 {percentile(ms, 0.5):.0f} ms, p99 {percentile(ms, 0.99):.0f} ms"
            for name, ms in (("records to rows", self.records_ms), ("operator's requests", self.requests_ms))
        )


class Probe:
    """Sends records and requests while its block runs; `first`: the number of the first record, each is new."""

    def __init__(self, conninfo: str, services: Sequence[Service], token: str, first: int) -> None:
        self._conninfo, self._services, self._token, self._first = conninfo, services, token, first
        self._stop = threading.Event()
        self._sent: dict[bytes, float] = {}
        self._requests_ms: list[float] = []
        self._refused: list[str] = []
        self._threads = [threading.Thread(target=each, daemon=True) for each in (self._send, self._operate)]

    def __enter__(self) -> Self:
        self._listener = Listener(self._conninfo, LOADED)
        for each in self._threads:
            each.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        for each in self._threads:
            each.join()
        try:
            if kind is None:
                arrived = self._listener.arrivals
                wait_until(lambda: self._sent.keys() <= arrived.keys(), "the rows of all records", ARRIVAL_LIMIT_S)
        finally:
            self._listener.close()

    def latencies(self) -> Latencies:
        """Call after the block."""
        arrived = self._listener.arrivals
        records_ms = sorted(max(0.0, arrived[event_id] - at_s) * 1000 for event_id, at_s in self._sent.items())
        return Latencies(records_ms, sorted(self._requests_ms), self._refused)

    @property
    def next_number(self) -> int:
        return self._first + len(self._sent)

    def _send(self) -> None:
        with closing(PostgresBroker(self._conninfo)) as broker, closing(broker.producer("attack")) as producer:
            for number in itertools.count(self._first):
                record = raw_card(LIVE_BEGINS, number)
                with producer.unit() as unit:
                    unit.append([record])
                    unit.commit()
                self._sent[record.headers["event_id"]] = time.perf_counter()
                if self._stop.wait(1 / RECORDS_PER_S):
                    return

    def _operate(self) -> None:
        with httpx2.Client(headers={"Authorization": f"Bearer {self._token}"}, timeout=60) as client:
            for path, service in itertools.cycle(itertools.product(PATHS, self._services)):
                began_s = time.perf_counter()
                try:
                    status = str(client.get(f"{service.url}{path}").status_code)
                except httpx2.HTTPError as error:
                    status = repr(error)
                self._requests_ms.append((time.perf_counter() - began_s) * 1000)
                if status != "200":
                    self._refused.append(f"{service.name} {path}: {status}")
                if self._stop.wait(1 / REQUESTS_PER_S):
                    return
