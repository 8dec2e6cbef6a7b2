"""What a predictor reads from the tables, as types."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from services.predictor.data.events import State
from shared.events import Decision


class Told(NamedTuple):
    """The newest live prediction of one settled event in one state, made before the start: P(win) by slot, who won."""

    event_key: str
    state: State
    p_win: Mapping[int, float]
    winner: int
    model_version: str
    as_of_us: float


class Decided(NamedTuple):
    """What the newest live prediction of an event, made before its start, would have done."""

    event_key: str
    session_key: str
    state: State
    model_version: str
    as_of_us: float
    decision: Decision


class Change(NamedTuple):
    """An event that has a result, as it stands now. `version` rises with every fact of it that is stored.

    A `status` other than "settled" says that it is history no longer: it was found to be void, say.
    """

    event_key: str
    version: int
    status: str
    settled_us: float


class Position(NamedTuple):
    """How far a reader of changes has come; only the database can say what comes after it.

    `oldest`: the oldest transaction that was not over when the reader looked. `met`: the changes of transactions from
    there on that were over all the same.
    """

    oldest: str
    met: frozenset[Change] = frozenset()


class Changes(NamedTuple):
    """What is new since a position, each event once in the order of their keys, and where to go on."""

    events: tuple[Change, ...]
    position: Position


@contextmanager
def without_collection() -> Iterator[None]:
    """While millions of records are made that hold no circles: looking for some, again and again, takes as long as
    making them."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
