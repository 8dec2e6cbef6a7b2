"""Composes what a view shows of each stage, from positions, heartbeats, orders and the state of the processes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from headrace.progress.frame import Details, Stage, StageState, StageStatus
from headrace.progress.positions import Reading
from headrace.progress.replicas import ReplicaStatus
from headrace.progress.text import number_of
from headrace.progress.throughput import Throughput
from shared.topics import READS, SERVICES, WRITES

# What a service's loop reports of itself, in the words of the view. Every state not listed is shown as `waiting`.
STATES: Mapping[str, StageState] = {
    "running": "running",
    "standing by": "running",
    "paused": "paused",
    "starting": "starting",
    "waiting for orders": "starting",
    "tripped": "held back",
    "stopped": "stopped",
}
# Of several replicas the view shows the state that needs attention most.
BY_URGENCY: tuple[StageState, ...] = (
    "failed",
    "held back",
    "waiting",
    "restarting",
    "starting",
    "paused",
    "stopped",
    "running",
)


def stage_statuses(
    live: Iterable[ReplicaStatus], paused: Iterable[tuple[str, str]], processes: Mapping[str, StageState]
) -> dict[str, StageStatus]:
    """By service. `paused`: services and topics under a pause order; `processes`: what the supervisor knows of them.

    A service without a heartbeat is in the state that the supervisor gives, or stopped.
    """
    orders = list(paused)
    by_service: dict[str, list[ReplicaStatus]] = {service: [] for service in SERVICES}
    for replica in live:
        by_service[replica.service].append(replica)
    return {
        service: _status(of_service, tuple(topic for name, topic in orders if name == service), processes.get(service))
        for service, of_service in by_service.items()
    }


def stages_of(reading: Reading | None, throughput: Throughput, details: Details) -> tuple[Stage, ...]:
    return tuple(
        Stage(
            service,
            details.statuses.get(service, StageStatus("starting")),
            throughput.records(service),
            throughput.recent_per_s(service),
            reading.positions.lag(service) if reading else 0,
            throughput.samples(service),
            _windows(reading) if service == "fetcher" else details.products.get(service, ""),
        )
        for service in SERVICES
    )


def topic_sizes(reading: Reading | None) -> dict[str, int]:
    """Records in each of the topics between two stages; on Kafka slightly more, see throughput.py."""
    if reading is None:
        return {}
    return {topic: reading.positions.held(topic) for topics in WRITES.values() for topic in topics}


def loaded_fraction(reading: Reading | None, throughput: Throughput) -> float:
    """Share of the fetcher's windows that are done, times the share of their records that are loaded."""
    if reading is None or reading.fetcher is None:
        return 0.0
    windows = reading.fetcher.done + reading.fetcher.due
    fetched = reading.fetcher.done / windows if windows else float(reading.fetcher.exhausted)
    loaded = throughput.records("loader")
    left = reading.positions.lag("cleaner") + reading.positions.lag("loader")
    return fetched * (loaded / (loaded + left) if loaded + left else 1.0)


def _status(replicas: Sequence[ReplicaStatus], paused_on: tuple[str, ...], process: StageState | None) -> StageStatus:
    alive = [replica for replica in replicas if replica.replica is not None]
    if process in {"failed", "restarting"} or not alive:
        return StageStatus(process or "stopped", 0, paused_on)
    worst = min(alive, key=lambda replica: BY_URGENCY.index(STATES.get(replica.state, "waiting")))
    state = STATES.get(worst.state, "waiting")
    if state == "running" and paused_on and set(READS[worst.service] or WRITES[worst.service]) <= set(paused_on):
        state = "paused"  # it still reads its retry topic
    reason = worst.reason.removeprefix(f"{worst.state}: ") if state in {"waiting", "held back"} else ""
    return StageStatus(state, len(alive), paused_on, reason)


def _windows(reading: Reading | None) -> str:
    if reading is None or reading.fetcher is None:
        return ""
    done, due = reading.fetcher.done, reading.fetcher.due
    if done + due == 0:  # it follows its source, and has no list of windows
        return ""
    return f"{done}/{done + due} windows" if due else number_of(done, "window")
