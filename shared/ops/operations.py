"""Defines operations (work that outlasts a request), their states and the allowed commands."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from shared.errors import HeadraceError

State = Literal["waiting", "running", "paused", "succeeded", "failed", "cancelled"]
Wanted = Literal["run", "pause", "cancel"]
Command = Literal["pause", "resume", "cancel"]

OPEN_STATES: frozenset[State] = frozenset({"waiting", "running", "paused"})
# These are run by the process that holds their lease (shared/runtime/jobs/workers.py).
JOB_KINDS = frozenset({"replay", "redrive", "training", "promotion"})
# The service that works on these also ends them (shared/runtime/process/operation_poller.py). They can be cancelled,
# and those of PAUSABLE_KINDS paused. The remaining kinds, pause and resume, end when all replicas report the requested
# state.
POLLED_KINDS = frozenset({"backfill", "export", "acceptance"})
PAUSABLE_KINDS = JOB_KINDS | {"backfill"}


class NotPossible(HeadraceError):
    """The command conflicts with the current state; the message says why and what to do instead."""


@dataclass(frozen=True)
class Operation:
    """A row of ops.operations.

    `target` holds the operation's parameters, `counts` the work done so far. `progress` ranges from 0 to 1. `left_s` is
    the estimated remaining time of a running job, in seconds.
    """

    id: str
    service: str
    kind: str
    state: State
    wanted: Wanted
    target: dict[str, Any]
    counts: dict[str, Any] = field(default_factory=dict)
    progress: float = 0.0
    waiting_for: str | None = None
    error: str | None = None
    requested_by: str = ""
    request_id: str = ""
    worker: str | None = None
    left_s: float | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    updated_at: datetime | None = None
    finished_at: datetime | None = None

    @property
    def is_open(self) -> bool:
        return self.state in OPEN_STATES


def wanted_after(operation: Operation, command: Command) -> Wanted:
    """The wanted state of an operation after a command. Repeating a command changes nothing.

    Raises NotPossible if the operation has ended or its kind does not support the command.
    """
    if not operation.is_open:
        raise NotPossible(f"operation {operation.id} has already ended: {operation.state}")
    if operation.kind in {"pause", "resume"}:
        raise NotPossible(f"operation {operation.id} is a {operation.kind}: give the opposite order instead")
    if operation.kind not in PAUSABLE_KINDS and not (operation.kind in POLLED_KINDS and command == "cancel"):
        raise NotPossible(f"there is no way to {command} operation {operation.id}: it is a {operation.kind}")
    if operation.wanted == "cancel" and command != "cancel":
        raise NotPossible(f"operation {operation.id} is being cancelled")
    wanted: dict[Command, Wanted] = {"pause": "pause", "resume": "run", "cancel": "cancel"}
    return wanted[command]


def resting_state(wanted: Wanted) -> State:
    """The state of an open job without a worker: no work happens on it until a worker claims it."""
    by_wanted: dict[Wanted, State] = {"run": "waiting", "pause": "paused", "cancel": "cancelled"}
    return by_wanted[wanted]
