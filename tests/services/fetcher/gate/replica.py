"""A program: requests documents through the gate with several threads, until it is killed.

Arguments: conninfo, base URL, the budget as JSON, the number of threads, the seconds of a lease.
"""

from __future__ import annotations

import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from services.fetcher.gate.gated_source import GatedSource, Surroundings
from services.fetcher.gate.postgres_gate import PostgresGate
from services.fetcher.gate.waits import Waits
from services.fetcher.http.source import HttpSource
from services.fetcher.planning.windows import DueWindow, Window
from services.fetcher.sources.declaration import Budget
from services.fetcher.sources.documents import Deferred
from shared.clock import Clock, SystemClock
from shared.errors import HeadraceError
from tests.services.fetcher.synthetic_documents import DAY, made_source

SYSTEM_CLOCK = SystemClock()


def gated_source(
    conninfo: str, base_url: str, budget: Budget, lease_s: float, clock: Clock = SYSTEM_CLOCK, **overrides: Any
) -> GatedSource:
    """`overrides`: keys of the declaration."""
    source = made_source(base_url, budget=budget.model_dump(), **overrides)
    stopping = threading.Event()
    surroundings = Surroundings(
        clock,
        stopping.wait,
        stopping.set,
        time.monotonic,
        new_id=lambda: uuid4().hex,
        waits=Waits(time.monotonic, lambda _: None),
    )
    gate = PostgresGate(conninfo, source.host, source.host_budget)
    return GatedSource(HttpSource(source, clock), gate, lease_s, surroundings)


def request_again_and_again(documents: GatedSource, historical: bool) -> None:
    while True:
        try:
            documents.fetch(DueWindow(Window("cards", DAY), historical), None)
        except Deferred as deferred:
            seconds = deferred.until - datetime.now(UTC)
            threading.Event().wait(min(seconds, timedelta(seconds=0.2)).total_seconds())
        except HeadraceError:
            pass


def main() -> None:
    conninfo, base_url, budget, threads, lease_s = sys.argv[1:]
    documents = gated_source(conninfo, base_url, Budget.model_validate_json(budget), float(lease_s))
    for number in range(int(threads)):
        threading.Thread(target=request_again_and_again, args=(documents, number % 2 == 0)).start()


if __name__ == "__main__":
    main()
