"""Finds the predictions that records request: of which events, in which state of knowledge."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import numpy as np

from services.predictor.data.events import Events, Ints, State
from shared.events import LoadedEvent
from shared.records import LIVE, DecodedRecord

# An event that settled longer ago is history being loaded, not a live event whose prediction is scored.
SCORED_WITHIN = timedelta(days=2)
OPEN = ("listed", "observed")
# These events will never have a winner.
CALLED_OFF = ("cancelled", "postponed")


class PredictionRequest(NamedTuple):
    """Records that request predictions, by event, in order of arrival; all of one revision."""

    revision: str
    records: Mapping[str, Sequence[DecodedRecord]]

    @property
    def is_replay(self) -> bool:
        return self.revision != LIVE

    def first(self, event_key: str, state: State) -> DecodedRecord | None:
        """The record that leads to the prediction; None: none does. Later records of the batch do not count, so that
        the prediction does not depend on how batches are cut. A changed card changes both states, an observation only
        its own."""
        return next(
            (
                item
                for item in self.records.get(event_key, ())
                if state == "observation" or item.message.kind == "listed"
            ),
            None,
        )


def requests_in(batch: Sequence[DecodedRecord], now: datetime) -> list[PredictionRequest]:
    """A live record requests a prediction only of an upcoming event: nothing is predicted after the deadline. A replay
    requests predictions of all its events, as of then."""
    by_revision: dict[str, dict[str, list[DecodedRecord]]] = {}
    for item in batch:
        message: LoadedEvent = item.message
        if message.kind not in OPEN or message.scheduled_at is None:
            continue
        if item.revision != LIVE or message.scheduled_at > now:
            by_revision.setdefault(item.revision, {}).setdefault(message.event_key, []).append(item)
    return [PredictionRequest(revision, records) for revision, records in by_revision.items()]


def recently_settled(batch: Iterable[DecodedRecord], now: datetime) -> list[str]:
    """Keys of events that settled recently."""
    return [
        item.message.event_key
        for item in batch
        if item.message.kind == "settled"
        and item.revision == LIVE
        and abs(now - item.message.known_at) <= SCORED_WITHIN
    ]


def rows_to_predict(events: Events, state: State, request: PredictionRequest) -> Ints:
    """Rows that are known in this state in time. A fact that became known after the deadline leads to no prediction, in
    a replay either: a card that was corrected later is not what was known."""
    as_of = events.as_of_us(state)
    known = np.isfinite(as_of) & (as_of <= events.scheduled_us)
    known &= ~np.isin(events.status, CALLED_OFF) if request.is_replay else np.isin(events.status, OPEN)
    requested = [request.first(str(key), state) is not None for key in events.event_key]
    return np.flatnonzero(known & np.array(requested, dtype=np.bool_)).astype(np.int64)
