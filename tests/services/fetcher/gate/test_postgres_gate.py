"""The gate in PostgreSQL: replicas share it, and without its database no request is made."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from services.fetcher.gate.breaker import FAILURES
from services.fetcher.gate.gated_source import GatedSource
from services.fetcher.gate.postgres_gate import FRESH_S, PostgresGate, gates, reset_gate
from services.fetcher.gate.state import Granted, OutcomeKind, RequestOutcome, TurnRequest, Wait
from services.fetcher.planning.windows import DueWindow, Window
from services.fetcher.sources.declaration import UNLIMITED, Budget
from services.fetcher.sources.documents import Absence, Deferred
from shared.database.connection import DbConnection
from shared.errors import TransientError
from tests.services.fetcher.gate.counting_server import CountingServer, counting_server
from tests.services.fetcher.gate.replica import gated_source
from tests.services.fetcher.synthetic_documents import DAY
from tests.waiting import terminate_backends, wait_until

HOST = "meadow.example"
IDS = count(1)
HISTORY, LIVE = DueWindow(Window("cards", DAY), historical=True), DueWindow(Window("cards", DAY), historical=False)
MakeGate = Callable[[Budget], PostgresGate]


@pytest.fixture
def stack(database_url: str) -> Iterator[ExitStack]:
    """Is left before the database is dropped."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def gate(stack: ExitStack, database_url: str) -> MakeGate:
    """Makes the gate of another replica."""

    def make(budget: Budget) -> PostgresGate:
        made = PostgresGate(database_url, HOST, budget)
        stack.callback(made.close)
        return made

    return make


@pytest.fixture
def server(stack: ExitStack) -> CountingServer:
    return stack.enter_context(counting_server())


def take(gate: PostgresGate, *, live: bool = False, place: str = "cards") -> Granted | Wait:
    return gate.take(TurnRequest(f"turn {next(IDS)}", place, live, 60.0))


def end(gate: PostgresGate, answer: Granted | Wait, kind: OutcomeKind = "success", retry_after_s: float = 0) -> None:
    assert isinstance(answer, Granted), answer
    gate.report(RequestOutcome(answer.turn, "cards", kind, retry_after_s))


def end_open_state(connection: psycopg.Connection[Any]) -> None:
    """As if the time until the probe had passed."""
    connection.execute(
        "UPDATE fetcher.gates SET version = version + 1, state = jsonb_set(state, '{breaker,until}', '0')"
    )


class Outage:
    """Makes the database refuse connections."""

    def __init__(self, database_url: str) -> None:
        self._name = conninfo_to_dict(database_url)["dbname"]
        self._admin = psycopg.connect(make_conninfo(database_url, dbname="postgres"), autocommit=True)

    def begin(self) -> None:
        self._admin.execute(f'ALTER DATABASE "{self._name}" ALLOW_CONNECTIONS false')
        terminate_backends(self._admin, "datname = %s", (self._name,))

    def end(self) -> None:
        self._admin.execute(f'ALTER DATABASE "{self._name}" ALLOW_CONNECTIONS true')

    def close(self) -> None:
        self.end()
        self._admin.close()


@pytest.fixture
def outage(stack: ExitStack, database_url: str) -> Outage:
    outage = Outage(database_url)
    stack.callback(outage.close)
    return outage


def test_a_turn_of_one_replica_counts_for_the_others(gate: MakeGate) -> None:
    budget = Budget(rate=None, in_flight=1)
    one, other = gate(budget), gate(budget)
    turn = take(one)
    assert isinstance(take(other), Wait)

    end(one, turn)

    assert isinstance(take(other), Granted)


def test_the_live_request_of_one_replica_is_served_before_the_back_fill_of_another(gate: MakeGate) -> None:
    budget = Budget(rate=None, in_flight=1)
    one, other = gate(budget), gate(budget)
    turn = take(one)
    assert isinstance(take(other, live=True), Wait)
    end(one, turn)

    assert isinstance(take(one), Wait)
    end(other, take(other, live=True))

    assert isinstance(take(one), Granted)


def test_all_replicas_obey_a_retry_after_that_one_got(gate: MakeGate) -> None:
    one, other = gate(Budget()), gate(Budget())
    end(one, take(one), "throttled", 100)

    wait = take(other)

    assert isinstance(wait, Wait)
    assert wait.reason == "retry-after"
    assert 90 < wait.seconds <= 100


@pytest.mark.parametrize("budget", [UNLIMITED, Budget(rate=1000, burst=1000, in_flight=None)])
def test_of_many_threads_of_four_replicas_one_makes_the_probe(
    gate: MakeGate, database: DbConnection, budget: Budget
) -> None:
    replicas = [gate(budget) for _ in range(4)]
    turns = [take(replicas[0]) for _ in range(FAILURES)]
    for turn in turns:
        end(replicas[0], turn, "failure")
    assert all(wait.reason == "breaker" for each in replicas if isinstance(wait := take(each), Wait))
    end_open_state(database)

    answers: list[tuple[PostgresGate, Granted | Wait]] = []
    threads = [threading.Thread(target=lambda gate=each: answers.append((gate, take(gate)))) for each in replicas * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    probes = [(gate, answer) for gate, answer in answers if isinstance(answer, Granted)]
    assert len(probes) == 1
    end(*probes[0])
    assert all(isinstance(take(each), Granted) for each in replicas)


def test_a_budget_without_limits_costs_no_statement_for_each_turn(gate: MakeGate, database: DbConnection) -> None:
    free = gate(UNLIMITED)
    end(free, take(free))
    version = database.execute("SELECT version FROM fetcher.gates").fetchone()

    for _ in range(100):
        end(free, take(free))

    assert database.execute("SELECT version FROM fetcher.gates").fetchone() == version


def test_a_replica_without_limits_notices_what_another_was_told(gate: MakeGate) -> None:
    one, other = gate(UNLIMITED), gate(UNLIMITED)
    end(other, take(other))
    end(one, take(one), "throttled", 100)

    wait_until(lambda: isinstance(take(other), Wait), f"a wait, after {FRESH_S:g} s")


def test_an_operator_can_reset_the_gate(gate: MakeGate, database: DbConnection) -> None:
    one = gate(Budget())
    end(one, take(one), "throttled", 100)
    assert isinstance(take(one), Wait)

    assert reset_gate(database, HOST)
    assert not reset_gate(database, "other.example")

    assert isinstance(take(one), Granted)
    assert [(each.host, each.state.throttle) for each in gates(database)] == [(HOST, None)]


def test_without_the_database_there_is_no_turn(gate: MakeGate, outage: Outage) -> None:
    one = gate(Budget())
    end(one, take(one))
    outage.begin()

    with pytest.raises(TransientError):
        take(one)
    with pytest.raises(TransientError):
        take(one)

    outage.end()
    wait_until(lambda: isinstance(take(one), Granted), forgive=TransientError)


def test_an_outcome_that_could_not_be_reported_is_reported_later(gate: MakeGate, outage: Outage) -> None:
    one, other = gate(Budget()), gate(Budget())
    turn = take(one)
    outage.begin()
    end(one, turn, "throttled", 1000)
    outage.end()

    wait_until(lambda: take(one), forgive=TransientError)

    wait = take(other)
    assert isinstance(wait, Wait)
    assert wait.reason == "retry-after"


def test_a_window_is_put_back_while_the_database_is_unavailable(
    stack: ExitStack, server: CountingServer, database_url: str, outage: Outage
) -> None:
    documents = gated_source(database_url, server.url, Budget(), 60.0)
    stack.callback(documents.close)
    outage.begin()
    with pytest.raises(Deferred) as raised:
        documents.fetch(HISTORY, None)
    assert raised.value.reason == "database"
    assert server.arrivals == []

    outage.end()

    assert wait_until(lambda: fetched(documents), forgive=Deferred) is Absence.NOT_PUBLISHED


def test_a_closed_source_requests_nothing_more(server: CountingServer, database_url: str) -> None:
    documents = gated_source(database_url, server.url, Budget(rate=0.3, burst=1), 60.0)
    documents.fetch(HISTORY, None)

    def wait_for_turn() -> None:
        with pytest.raises(TransientError):
            documents.fetch(LIVE, None)

    waiting = threading.Thread(target=wait_for_turn)
    waiting.start()

    documents.close()

    waiting.join()
    assert len(server.arrivals) == 1


def fetched(documents: GatedSource) -> object:
    return documents.fetch(HISTORY, None)
