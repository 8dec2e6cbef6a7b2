"""The predictor's handler: loaded-events in, predictions of upcoming events out.

A listed event is predicted from its card, an observed one from card and observation; whatever is past costs no
query, so an archive passes at full speed. Files, database and time come in through the constructor.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol
from uuid import UUID

import numpy as np
import structlog

from services.predictor.facts import STATES, Cards, Facts, State, as_of_us
from services.predictor.features import features_of
from services.predictor.scores import Score, Scores
from services.predictor.told import Subject, prediction_id, prediction_of
from services.predictor.trained import Trained
from shared.broker.contract import NewRecord
from shared.clock import Clock
from shared.errors import ConfigError
from shared.events import LoadedEvent
from shared.records import LIVE, Received, encode
from shared.topics import PREDICTIONS

CHECK_EVERY = timedelta(seconds=1)
# What settled longer ago than this is history being loaded, not a live event whose prediction should be judged.
SCORED_WITHIN = timedelta(days=2)
# Ids of predictions already told; some 300 a day are made, so this is more than a month.
REMEMBERED = 20_000

log = structlog.get_logger("predictor")


class Models(Protocol):
    """Where models lie (services/predictor/registry.py)."""

    def live_changed_ns(self) -> int | None: ...

    def live(self) -> Trained | None: ...


class Predictor:
    """`handle` may run twice on a batch: it gives the same records again. One thread; others may read `scores`."""

    def __init__(self, facts: Facts, models: Models, clock: Clock) -> None:
        self.scores = Scores()
        self._facts, self._models, self._clock = facts, models, clock
        self._model: Trained | None = None
        self._changed_ns: int | None = None
        self._checked_at: datetime | None = None
        self._told: OrderedDict[UUID, tuple[str, ...]] = OrderedDict()

    @property
    def model_version(self) -> str | None:
        """The model in use; None: nothing is predicted."""
        return self._model.version if self._model else None

    def detail(self) -> dict[str, Any]:
        """For the status page and the metrics: the model in use and how it did lately."""
        return {"model_version": self.model_version, "scores": self.scores.summary()}

    def handle(self, batch: Sequence[Received]) -> list[NewRecord]:
        """Raises TransientError when the database is away."""
        now = self._clock.now()
        self._refresh(now)
        if self._model is None:
            return []
        self._score(self._model, [item.message for item in batch if _just_settled(item, now)])
        upcoming: dict[str, list[Received]] = {}
        for item in batch:
            if _is_upcoming(item, now):
                upcoming.setdefault(item.message.event_key, []).append(item)
        return self._predict(self._model, upcoming) if upcoming else []

    def _refresh(self, now: datetime) -> None:
        """Load the live model when the pointer was set; keep the old one where the new one cannot be used."""
        if self._checked_at is not None and self._checked_at <= now < self._checked_at + CHECK_EVERY:
            return
        self._checked_at = now
        changed_ns = self._models.live_changed_ns()
        if changed_ns == self._changed_ns:
            return
        self._changed_ns = changed_ns
        try:
            self._model = self._models.live()
        except ConfigError as error:
            log.error("model refused", reason=str(error), in_use=self.model_version)  # noqa: TRY400 (no stack to show)
        else:
            log.info("model live", model_version=self.model_version)

    def _predict(self, model: Trained, upcoming: Mapping[str, Sequence[Received]]) -> list[NewRecord]:
        cards = self._facts.cards(list(upcoming))
        kinds = {key: {item.message.kind for item in items} for key, items in upcoming.items()}
        records = []
        for state in STATES:
            records += self._in_state(model, cards, state, upcoming, kinds)
        return records

    def _in_state(
        self,
        model: Trained,
        cards: Cards,
        state: State,
        upcoming: Mapping[str, Sequence[Received]],
        kinds: Mapping[str, set[str]],
    ) -> list[NewRecord]:
        """Those of the events whose knowledge in this state is new."""
        rows = _rows_to_tell(cards, state, kinds, model.description.shape.slots)
        if not len(rows):
            return []
        features = features_of(cards, model.description.encoding, state)[rows]
        probabilities = model.probabilities(features)
        as_of, scheduled = as_of_us(cards, state)[rows], cards.events["scheduled_us"].to_numpy(np.float64)[rows]
        hashes = features.hashes()
        subjects: dict[UUID, tuple[int, Subject]] = {}
        for row, event_key in enumerate(cards.events["event_key"].iloc[rows]):
            inputs = (_first_of(upcoming[event_key], state).record.place,)
            subject = Subject(
                event_key, state, as_of[row], scheduled[row], features.taken[row].tolist(), hashes[row], inputs
            )
            subjects[prediction_id(subject, model.version)] = (row, subject)
        self._remember_loaded(subjects)
        return [
            encode(
                prediction_of(subject, model.version, probabilities, row), PREDICTIONS, "prediction/1", event_id,
                "predictor",
            )
            for event_id, (row, subject) in subjects.items()
            if self._is_new(event_id, subject.inputs)
        ]  # fmt: skip

    def _remember_loaded(self, subjects: Mapping[UUID, object]) -> None:
        """What a former process told, or the former owner of a partition: it does not lie in this one's memory."""
        if unknown := [event_id for event_id in subjects if event_id not in self._told]:
            self._told |= dict.fromkeys(self._facts.loaded(unknown), ())

    def _is_new(self, event_id: UUID, inputs: tuple[str, ...]) -> bool:
        """Whether nobody was told. The record that first led to it may do so again: its unit may have failed."""
        first = self._told.setdefault(event_id, inputs)
        while len(self._told) > REMEMBERED:
            self._told.popitem(last=False)
        return not set(first).isdisjoint(inputs)

    def _score(self, model: Trained, settled: Sequence[LoadedEvent]) -> None:
        """Judge what was told of events that have just settled."""
        if not settled:
            return
        rates = model.description.encoding.names.win_rate
        for told in self._facts.told([message.event_key for message in settled]):
            p_win = told.p_win.get(told.winner, 0.0)
            slots = [slot for slot in told.p_win if slot <= len(rates)]
            base = rates[told.winner - 1] / sum(rates[slot - 1] for slot in slots) if told.winner in slots else 0.0
            self.scores.add(told.event_key, told.state, Score(_nats(p_win), _nats(base)))


def _first_of(items: Sequence[Received], state: State) -> Received:
    """The record that leads to the prediction; later ones in the same batch change nothing in it, so that it is the
    same prediction however the batches are cut."""
    return next(item for item in items if state == "observation" or item.message.kind == "listed")


def _is_upcoming(item: Received, now: datetime) -> bool:
    message: LoadedEvent = item.message
    return (
        message.kind in ("listed", "observed")
        and message.scheduled_at is not None
        and message.scheduled_at > now
        and item.revision == LIVE
    )


def _just_settled(item: Received, now: datetime) -> bool:
    message: LoadedEvent = item.message
    return message.kind == "settled" and item.revision == LIVE and abs(now - message.known_at) <= SCORED_WITHIN


def _rows_to_tell(
    cards: Cards, state: State, kinds: Mapping[str, set[str]], slots: int
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Rows of the events to predict in this state: a changed card changes both, an observation only its own."""
    known = np.isfinite(as_of_us(cards, state)) & np.isfinite(cards.events["scheduled_us"].to_numpy(np.float64))
    known &= cards.events["status"].isin(("listed", "observed")).to_numpy(np.bool_)
    told = [state == "observation" or "listed" in kinds[key] for key in cards.events["event_key"]]
    entries = np.bincount(cards.entries["event"].to_numpy(np.int64), minlength=len(known))
    crowded = np.zeros(len(known), dtype=np.bool_)
    crowded[cards.entries.loc[cards.entries["slot"] > slots, "event"].to_numpy(np.int64)] = True
    return np.flatnonzero(known & np.array(told, dtype=np.bool_) & (entries > 1) & ~crowded)


def _nats(probability: float) -> float:
    return -math.log(max(probability, 1e-15))
