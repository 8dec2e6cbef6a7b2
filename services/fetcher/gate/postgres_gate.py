"""The gate of one host, shared by all replicas: its state is a row of `fetcher.gates`.

A replica computes the next state (state.py) and replaces the row only if no other replica has changed it in between.
No lock is held meanwhile, so a process that is stopped at any moment blocks no other. As long as one replica makes the
requests, it knows the row from its last statement, and a turn costs one statement. A turn of a budget without limits
costs none: the row is read once a second, and written with failures and a success of each feed once a minute.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Concatenate, NamedTuple, ParamSpec, TypeVar

import msgspec
import structlog

from services.fetcher.gate.state import (
    GateState,
    Granted,
    RequestOutcome,
    TurnRequest,
    Wait,
    closed_wait,
    end_turn,
    reset,
    take_turn,
)
from services.fetcher.sources.declaration import Budget
from shared.database.connection import DbConnection, limited_connection
from shared.errors import TransientError

# A healthy database answers in milliseconds; threads of the fetcher wait for one answer after the other.
ANSWER_S = 5.0
# How old the known state may be. The other replicas' failures are noticed within this time.
FRESH_S = 1.0
# After an error, requests are refused for this time without another statement.
AWAY_S = 1.0

NOW = "extract(epoch FROM clock_timestamp())::float8"
READ = f"SELECT version, state::text, {NOW} FROM fetcher.gates WHERE host = %s"
CREATE = "INSERT INTO fetcher.gates (host, version, state) VALUES (%s, 0, '{}') ON CONFLICT (host) DO NOTHING"
REPLACE = (
    "UPDATE fetcher.gates SET version = version + 1, state = %s, changed_at = clock_timestamp()"
    f" WHERE host = %s AND version = %s RETURNING {NOW}"
)

P = ParamSpec("P")
R = TypeVar("R")
Transition = Callable[[GateState, float], tuple[GateState, R]]


@dataclass(frozen=True)
class _Row:
    """The row as a statement returned it. That was at `database_s` of the database's clock, and between `sent_s` and
    `received_s` of this process's."""

    version: int
    state: GateState
    database_s: float
    sent_s: float
    received_s: float

    def earliest_now(self) -> float:
        """At most the database's time."""
        return self.database_s + time.monotonic() - self.received_s

    def latest_now(self) -> float:
        """At least the database's time."""
        return self.database_s + time.monotonic() - self.sent_s

    def is_fresh(self) -> bool:
        return time.monotonic() - self.sent_s < FRESH_S


class PostgresGate:
    """Thread-safe. The methods raise TransientError while the database is unavailable."""

    def __init__(self, conninfo: str, host: str, budget: Budget) -> None:
        self.host = host
        self._budget = budget
        self._link = limited_connection(conninfo, "fetcher gate", ANSWER_S)
        self._lock = threading.Lock()
        self._row: _Row | None = None
        self._unreported: deque[RequestOutcome] = deque()
        self._away_until_s = 0.0
        self._is_away = False
        self._log = structlog.get_logger(__name__)

    def take(self, request: TurnRequest) -> Granted | Wait:
        """The right to make one request, or why and for how long there is none."""
        with self._lock:
            while self._unreported:
                self._report(self._unreported[0])
                self._unreported.popleft()
            return self._apply(lambda state, now: take_turn(state, request, self._budget, now), _Row.earliest_now)

    def report(self, outcome: RequestOutcome) -> Wait | None:
        """Ends the turn. Returns what the gate now waits for apart from its budget; None if it is open.

        If the database is unavailable, the outcome is reported before the next turn is taken.
        """
        with self._lock:
            try:
                return self._report(outcome)
            except TransientError:
                self._unreported.append(outcome)
                return None

    def now(self) -> datetime:
        """The database's time; of this machine before the first statement."""
        row = self._row
        return datetime.fromtimestamp(time.time() if row is None else row.earliest_now(), UTC)

    def state(self) -> GateState:
        """The state as of the last statement of this process."""
        row = self._row
        return GateState() if row is None else row.state

    def close(self) -> None:
        with self._lock:
            self._link.drop()

    def _report(self, outcome: RequestOutcome) -> Wait | None:
        def transition(state: GateState, now: float) -> tuple[GateState, Wait | None]:
            after = end_turn(state, outcome, self._budget, now)
            return after, closed_wait(after, now)

        return self._apply(transition, _Row.latest_now, trusts_waits=True)

    def _apply(self, transition: Transition[R], now_of: Callable[[_Row], float], *, trusts_waits: bool = False) -> R:
        """The transition's result, once its state is stored.

        A transition that changes nothing needs no statement if the known state is fresh. A wait is only returned after
        a statement, because another replica or an operator may have ended it.
        """
        if time.monotonic() < self._away_until_s:
            raise TransientError("the database with the state of the gate is unavailable: no request is made")
        row, is_current = self._row, False
        while True:
            if row is None or not (is_current or row.is_fresh()):
                row, is_current = self._statement(self._read), True
            state, result = transition(row.state, now_of(row))
            if state != row.state:
                row = self._statement(self._replace, row, state)
                if row is not None:
                    return result
            elif is_current or trusts_waits or not isinstance(result, Wait):
                return result
            else:
                row = None

    def _statement(self, function: Callable[Concatenate[DbConnection, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            with self._link.use() as connection:
                result = function(connection, *args, **kwargs)
        except TransientError as error:
            self._row = None
            self._away_until_s = time.monotonic() + AWAY_S
            if not self._is_away:
                self._log.warning("gate_unavailable", host=self.host, cause=str(error))
            self._is_away = True
            raise
        if self._is_away:
            self._log.info("gate_available", host=self.host)
        self._is_away = False
        return result

    def _read(self, connection: DbConnection) -> _Row:
        while True:
            sent_s = time.monotonic()
            row = connection.execute(READ, (self.host,)).fetchone()
            if row is not None:
                version, state, now = row
                self._row = _Row(version, msgspec.json.decode(state, type=GateState), now, sent_s, time.monotonic())
                return self._row
            connection.execute(CREATE, (self.host,))

    def _replace(self, connection: DbConnection, row: _Row, state: GateState) -> _Row | None:
        """The new row; None if another replica was faster."""
        sent_s = time.monotonic()
        parameters = (msgspec.json.encode(state).decode(), self.host, row.version)
        answer = connection.execute(REPLACE, parameters).fetchone()
        self._row = answer and _Row(row.version + 1, state, answer[0], sent_s, time.monotonic())
        return self._row


class HostGate(NamedTuple):
    """The gate of a host as stored, and the database's time at which it was read."""

    host: str
    state: GateState
    now: float

    def at(self, seconds: float) -> datetime:
        """A time of the state."""
        return datetime.fromtimestamp(seconds, UTC)


def gates(connection: DbConnection) -> list[HostGate]:
    """The gates of all hosts, by name."""
    rows = connection.execute(f"SELECT host, state::text, {NOW} FROM fetcher.gates ORDER BY host")
    return [HostGate(host, msgspec.json.decode(state, type=GateState), now) for host, state, now in rows]


def reset_gate(connection: DbConnection, host: str) -> bool:
    """Closes the breaker of a host and forgets the wait that its server asked for. False if there is no such gate."""
    while True:
        row = connection.execute(READ, (host,)).fetchone()
        if row is None:
            return False
        version, state, now = row
        after = reset(msgspec.json.decode(state, type=GateState), now)
        if connection.execute(REPLACE, (msgspec.json.encode(after).decode(), host, version)).fetchone():
            return True
