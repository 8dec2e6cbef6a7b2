"""Replicas that are started and killed at any moment never exceed the budget of the host together."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from services.fetcher.planning.windows import DueWindow, Window
from services.fetcher.sources.declaration import Budget
from services.fetcher.sources.documents import Deferred, Document
from tests.services.fetcher.gate.counting_server import CountingServer, Decision, counting_server, most_over_budget
from tests.services.fetcher.gate.replica import gated_source
from tests.services.fetcher.site import delayed, serving_site
from tests.services.fetcher.synthetic_documents import DAY, body, event
from tests.waiting import DEADLINE_S, wait_until

# Longer than an answer of the server takes on a loaded machine.
LEASE_S = 10.0


class Replicas:
    """Processes that request as much as they may."""

    def __init__(self, database_url: str, server: CountingServer, budget: Budget) -> None:
        self._arguments = [database_url, server.url, budget.model_dump_json(), "4", str(LEASE_S)]
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self, count: int = 1) -> None:
        command = [sys.executable, "-m", "tests.services.fetcher.gate.replica", *self._arguments]
        self._processes += [subprocess.Popen(command) for _ in range(count)]

    def kill_first(self) -> None:
        process = self._processes.pop(0)
        process.send_signal(signal.SIGKILL)
        process.wait()

    def stop(self) -> None:
        while self._processes:
            self.kill_first()


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def started(stack: ExitStack, database_url: str, server: CountingServer, budget: Budget, count: int) -> Replicas:
    replicas = Replicas(database_url, server, budget)
    stack.callback(replicas.stop)
    replicas.start(count)
    return replicas


def wait_for_requests(server: CountingServer, count: int) -> None:
    wait_until(lambda: len(server.arrivals) > count, f"request {count}")


@pytest.mark.parametrize("count", [1, 4])
def test_the_server_never_sees_more_than_the_budget(stack: ExitStack, database_url: str, count: int) -> None:
    server = stack.enter_context(counting_server(answer_s=0.03))
    budget = Budget(rate=20, burst=6, in_flight=3)
    replicas = started(stack, database_url, server, budget, count)

    for _ in range(2):
        requests = len(server.arrivals)
        wait_for_requests(server, requests + 25)
        replicas.kill_first()
        replicas.start()
    requests = len(server.arrivals)
    wait_for_requests(server, requests + 25)

    assert most_over_budget(server.arrivals, 20, 6) <= 0.001
    assert server.max_in_flight <= 3


def test_the_count_finds_an_excess() -> None:
    assert most_over_budget([0.0, 0.0, 0.0], 1, 2) == 1
    assert most_over_budget([0.0, 0.0, 5.0, 5.0], 1, 2) == 0
    assert most_over_budget([0.0, 5.0, 5.0, 5.5, 5.6, 20.0], 1, 2) == pytest.approx(1.4)


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_no_replica_requests_before_the_time_that_the_server_asked_for(
    stack: ExitStack, database_url: str, form: str
) -> None:
    server = stack.enter_context(counting_server())
    opens_at: list[float] = []

    def decide(number: int) -> Decision:
        if number >= 3:
            return 404, {}
        if form == "seconds":
            opens_at.append(time.monotonic() + 2)
            return 429, {"Retry-After": "2"}
        now = datetime.now(UTC)
        at = (now + timedelta(seconds=2)).replace(microsecond=0)
        opens_at.append(time.monotonic() + (at - now).total_seconds())
        return 503, {"Retry-After": format_datetime(at, usegmt=True)}

    server.decide = decide
    # One request at a time: another one that was already under way would be no fault.
    started(stack, database_url, server, Budget(rate=None, in_flight=1), 3)

    wait_for_requests(server, 10)

    assert all(arrival >= at for arrival, at in zip(server.arrivals[1:], opens_at, strict=False))
    assert len(opens_at) == 3


def test_slow_answers_to_the_back_fill_of_two_replicas_hold_back_no_live_request(
    stack: ExitStack, database_url: str
) -> None:
    site, released = stack.enter_context(serving_site()), threading.Event()
    site.pages["/cards/today.json"] = site.pages[path := f"/cards/{DAY:%Y%m%d}.json"] = body("cards", [event(1)])
    site.answers[path].extend([delayed(released)] * 8)
    patient = {"read_timeout_s": DEADLINE_S, "total_timeout_s": DEADLINE_S}
    budget = Budget(rate=None, in_flight=3)
    replicas = [gated_source(database_url, site.url, budget, DEADLINE_S, http=patient) for _ in range(2)]
    for replica in replicas:
        stack.callback(replica.close)
    threads = stack.enter_context(ThreadPoolExecutor(8))
    stack.callback(released.set)

    window = Window("cards", DAY)
    past = [threads.submit(replicas[number % 2].fetch, DueWindow(window, historical=True), None) for number in range(8)]
    wait_until(lambda: sum(each.done() for each in past) == 6, "the back-fill to be put back but for two windows")
    live = [replica.fetch(DueWindow(window, historical=False), None) for replica in replicas]
    under_way = site.requests.count(path)
    released.set()

    assert [type(each) for each in live] == [Document, Document]
    assert under_way == 2
    assert sorted(type(each.exception()).__name__ for each in past) == [Deferred.__name__] * 6 + ["NoneType"] * 2
