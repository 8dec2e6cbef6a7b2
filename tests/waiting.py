"""Waits for a condition with a deadline, never for a fixed time.

A deadline costs time only if something is broken. It is generous, because a loaded machine must not exceed it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import psycopg

DEADLINE_S = 120.0
POLL_INTERVAL_S = 0.01

T = TypeVar("T")


def wait_until(
    condition: Callable[[], T | None],
    what: str = "the condition",
    deadline_s: float = DEADLINE_S,
    forgive: type[Exception] | tuple[type[Exception], ...] = (),
    poll_s: float = POLL_INTERVAL_S,
) -> T:
    """The first true value of the condition. `forgive`: errors that count as "not yet"; `poll_s`: longer if the check
    is expensive. Raises AssertionError."""
    end_s = time.monotonic() + deadline_s
    last: object = None
    while True:
        try:
            if value := condition():
                return value
            last = value
        except forgive as error:
            last = error
        assert time.monotonic() < end_s, f"{what} did not come true within {deadline_s:g} s; last: {last!r}"
        time.sleep(poll_s)


def terminate_backends(admin: psycopg.Connection[Any], where: str, parameters: Sequence[object] = ()) -> list[int]:
    """End the other sessions that the condition on pg_stat_activity selects. Returns their pids when they have ended.

    Without its second argument pg_terminate_backend only sends a signal, and the client can still use its connection.
    """
    query = f"SELECT pid, pg_terminate_backend(pid, %s) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND {where}"
    pids = [pid for pid, _ in admin.execute(query, (int(1000 * DEADLINE_S), *parameters))]
    alive = "SELECT pid FROM pg_stat_activity WHERE pid = ANY(%s)"
    wait_until(lambda: not admin.execute(alive, (pids,)).fetchall(), f"the end of the sessions {pids}")
    return pids
