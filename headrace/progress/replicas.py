"""The replicas of each service, as their heartbeats describe them in ops.replicas."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlsplit

import psycopg

from shared.loopback import LOOPBACK_HOSTS
from shared.ops.tables.orders import FRESH_S
from shared.topics import SERVICES

Rows = psycopg.Connection[tuple[Any, ...]]


@dataclass(frozen=True)
class ReplicaStatus:
    """One replica of a service. `replica` and `pid` are None for a service that is stopped."""

    service: str
    replica: str | None
    pid: int | None
    admin_url: str | None
    state: str
    ready: bool
    lag_records: int | None
    # Why it is not ready. Not part of the JSON.
    reason: str = ""

    def as_json(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if name != "reason"}


def replicas(connection: Rows) -> list[ReplicaStatus]:
    """Every service: its live replicas, or one entry in state `stopped`."""
    rows = connection.execute(
        "SELECT service, replica, pid, admin_url, state, ready, lag_records, coalesce(detail ->> 'not_ready', '')"
        " FROM ops.replicas WHERE seen_at > now() - make_interval(secs => %s) ORDER BY service, replica",
        (FRESH_S,),
    ).fetchall()
    live = [replica for row in rows if _is_alive(replica := ReplicaStatus(*row))]
    return with_stopped(live)


def with_stopped(live: Iterable[ReplicaStatus]) -> list[ReplicaStatus]:
    """The live replicas, and one entry for each service that has none."""
    by_service: dict[str, list[ReplicaStatus]] = {service: [] for service in SERVICES}
    for each in live:
        by_service[each.service].append(each)
    stopped = {name: [ReplicaStatus(name, None, None, None, "stopped", False, None)] for name in SERVICES}
    return [each for service in SERVICES for each in by_service[service] or stopped[service]]


def held_back(connection: Rows) -> list[str]:
    """Services that hold a partition back until an operator resumes them, each with its cause."""
    return [
        f"{service}: {reason}"
        for service, reason in connection.execute(
            "SELECT service, detail ->> 'not_ready' FROM ops.replicas WHERE state = 'tripped'"
            " AND seen_at > now() - make_interval(secs => %s) ORDER BY 1, 2",
            (FRESH_S,),
        )
    ]


def _is_alive(replica: ReplicaStatus) -> bool:
    """Whether its process exists. Of another machine only the heartbeat is known."""
    if replica.state == "stopped":
        return False
    local = urlsplit(replica.admin_url or "").hostname in LOOPBACK_HOSTS
    return not local or (replica.pid is not None and _pid_exists(replica.pid))


def _pid_exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # the process belongs to another user, but it exists
        return True
    return True
