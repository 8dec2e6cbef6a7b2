"""Types of what the predictor reads from the tables."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from services.predictor.data.events import State
from shared.events import Decision


class StoredPrediction(NamedTuple):
    """The newest live prediction of a settled event in one state before its start: P(win) by slot, and the winner."""

    event_key: str
    state: State
    p_win: Mapping[int, float]
    winner: int
    model_version: str
    as_of_us: float


class StoredDecision(NamedTuple):
    """The policy's decision in the newest live prediction of an event before its start."""

    event_key: str
    session_key: str
    state: State
    model_version: str
    as_of_us: float
    decision: Decision


class EventChange(NamedTuple):
    """The current state of an event with a result. `version` rises with every fact stored of the event.

    A `status` other than "settled" removes the event from the history, e.g. because it became void.
    """

    event_key: str
    version: int
    status: str
    settled_us: float


class Position(NamedTuple):
    """Position of a reader of changes; only the database can tell what comes after it.

    `oldest`: the oldest transaction that was running at the last read. `seen_changes`: the changes of later
    transactions that had already ended then.
    """

    oldest: str
    seen_changes: frozenset[EventChange] = frozenset()


class Changes(NamedTuple):
    """The changes since a position, each event once in key order, and the position to continue from."""

    events: tuple[EventChange, ...]
    position: Position


@contextmanager
def gc_disabled() -> Iterator[None]:
    """Disables garbage collection while millions of records without reference cycles are created: the collections
    would take as long as creating the records."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
