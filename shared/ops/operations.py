"""Operations: everything that takes longer than an answer. Their states and what may become of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from shared.errors import HeadraceError

State = Literal["waiting", "running", "paused", "succeeded", "failed", "cancelled"]
Wanted = Literal["run", "pause", "cancel"]
Command = Literal["pause", "resume", "cancel"]

OPEN: frozenset[State] = frozenset({"waiting", "running", "paused"})
# Worked on by a process that holds a lease on them (shared/runtime/jobs/workers.py).
JOBS = frozenset({"replay", "redrive", "training", "promotion"})
# Ended by their own service (shared/runtime/process/operation_poller.py): they can be cancelled, but not paused.
# All others end when they are seen to hold.
TENDED = frozenset({"backfill", "export"})


class NotPossible(HeadraceError):
    """What was asked for cannot be done to this operation; says why and what can be done."""


@dataclass(frozen=True)
class Operation:
    """A row of ops.operations. `progress` is from 0 to 1; `target` says what it is about, `counts` what was done;
    `left_s` is how long a job that runs may yet take."""

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
        return self.state in OPEN


def wanted_after(operation: Operation, command: Command) -> Wanted:
    """What is wanted of an operation once this was said. Saying it again changes nothing.

    Raises NotPossible: it is over, or of a kind that cannot do this.
    """
    if not operation.is_open:
        raise NotPossible(f"operation {operation.id} is over: {operation.state}")
    if operation.kind in {"pause", "resume"}:
        raise NotPossible(f"operation {operation.id} is a {operation.kind}: give the opposite order instead")
    if operation.kind not in JOBS and not (operation.kind in TENDED and command == "cancel"):
        raise NotPossible(f"there is no way to {command} operation {operation.id}: it is a {operation.kind}")
    if operation.wanted == "cancel" and command != "cancel":
        raise NotPossible(f"operation {operation.id} is being cancelled")
    wanted: dict[Command, Wanted] = {"pause": "pause", "resume": "run", "cancel": "cancel"}
    return wanted[command]


def resting_state(wanted: Wanted) -> State:
    """Of an open job that nobody works on: nothing of it can happen until somebody claims it."""
    by_wish: dict[Wanted, State] = {"run": "waiting", "pause": "paused", "cancel": "cancelled"}
    return by_wish[wanted]
