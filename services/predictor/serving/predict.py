"""The predictor's handler: turns loaded events into predictions, by the live model and by each shadow.

A listed event is predicted from its card, an observed one from card and observation. Past events cost no query, so an
archive passes at full speed. Files, database, broker and clock are passed to the constructor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol
from uuid import UUID

import numpy as np
import structlog

from services.predictor.data.events import STATES, Events, Floats, Ints, State, events_of, fitting
from services.predictor.data.profile import PROFILES, Profile, source_of
from services.predictor.features.history import History
from services.predictor.features.inputs import Inputs, inputs_of
from services.predictor.model.active import InUse, Serving
from services.predictor.model.interface import Model, Models, Probabilities
from services.predictor.monitoring.drift import Drift
from services.predictor.monitoring.rolling_scores import Summary
from services.predictor.monitoring.scoring import ScoredFacts, Scoring
from services.predictor.serving.decisions import Deciding, DecisionFacts
from services.predictor.serving.deduplication import Loaded, Once, Tail
from services.predictor.serving.explanation import Explanation, explain
from services.predictor.serving.history_cache import Memory, SettledFacts
from services.predictor.serving.messages import Manner, Subject, prediction_id, prediction_of
from services.predictor.serving.requests import Asked, asked_by, just_settled, rows_to_tell
from shared.broker.contract import NewRecord
from shared.clock import Clock
from shared.errors import ConfigError
from shared.events import Decision
from shared.records import Received, encode
from shared.topics import PREDICTIONS

log = structlog.get_logger("predictor")


class Facts(SettledFacts, DecisionFacts, Loaded, Protocol):
    """Facts from the tables (storage/postgres_facts.py). Each call raises TransientError if the database is
    unavailable."""


class Parts(NamedTuple):
    """Optional dependencies. `tail`: None finds earlier predictions in the tables only. `scored`: None computes no
    scores."""

    tail: Tail | None = None
    scored: ScoredFacts | None = None
    profiles: Mapping[str, Profile] = PROFILES


class Predictor:
    """`handle` returns the same records if it runs twice on a batch. For one thread; others may call `detail`."""

    def __init__(self, facts: Facts, models: Models, clock: Clock, parts: Parts = Parts()) -> None:  # noqa: B008 (frozen)
        self.in_use = InUse(models)
        self.memory = Memory(facts, parts.profiles)
        self.drift = Drift()
        self._facts, self._clock = facts, clock
        self._once = Once(facts, parts.tail)
        self._scoring = Scoring(parts.scored)
        self._deciding = Deciding(facts)

    @property
    def summaries(self) -> list[Summary]:
        """Recent scores of the models."""
        return self._scoring.summaries()

    @property
    def model_version(self) -> str | None:
        """Version of the live model; None: there is none."""
        return self.in_use.live.version if self.in_use.live else None

    def detail(self) -> dict[str, Any]:
        """For the status page: the active models, their recent scores, and problems."""
        found: dict[str, Any] = {
            "model_version": self.model_version,
            "shadows": [model.version for model in self.in_use.shadows],
            "scores": [_shown(each) for each in self._scoring.summaries()],
            "drift": self.drift.worst(),
        }
        troubles = self._scoring.troubles(self.model_version)
        return {**found, "trouble": "; ".join(troubles)} if troubles else found

    def handle(self, batch: Sequence[Received]) -> list[NewRecord]:
        """Raises TransientError if the database or the broker is unavailable."""
        now = self._clock.now()
        if self.in_use.look(now):
            self.drift.judge(self.in_use.live)
        if not self.in_use.all:
            return []
        self._scoring.judge(just_settled(batch, now), self.in_use.all)
        asked = asked_by(batch, now)
        if not asked:
            return []
        self.memory.refresh()
        return [record for each in asked for record in self._predict(each)]

    def explain(self, event_key: str, state: State) -> Explanation | None:
        """Explains the live model's prediction; None: no model is live, or the event was not known in this state."""
        self.in_use.look(self._clock.now())
        model, source = self.in_use.live, source_of(event_key)
        if model is None or self.memory.history(source) is None:
            return None
        self.memory.refresh()
        history = self.memory.history(source)
        if history is None or not _reads(model, history):
            return None
        events = self._events([event_key], history)
        events = events[np.isfinite(events.as_of_us(state))]
        return explain(model, events, history, state)[0] if len(events) else None

    def _predict(self, asked: Asked) -> list[NewRecord]:
        sources: dict[str, list[str]] = {}
        for key in asked.records:
            sources.setdefault(source_of(key), []).append(key)
        return [record for source, keys in sources.items() for record in self._predict_of(source, keys, asked)]

    def _predict_of(self, source: str, keys: Sequence[str], asked: Asked) -> list[NewRecord]:
        """Predictions for events of one source, by the models that were trained for its profile."""
        history = self.memory.history(source)
        if history is None:
            return []
        events = self._events(keys, history)
        records = []
        for serving in self.in_use.all:
            if not _reads(serving.model, history):
                continue
            for state in STATES:
                rows = rows_to_tell(events, state, asked)
                if len(rows):
                    records += self._tell(serving, events[rows], history, state, asked)
        return records

    def _events(self, keys: Sequence[str], history: History) -> Events:
        slots = history.profile.slots
        return events_of(fitting(self._facts.events(keys), slots), slots)

    def _tell(self, serving: Serving, events: Events, history: History, state: State, asked: Asked) -> list[NewRecord]:
        """New predictions of these events by this model. If a shadow fails, it is disabled, and the batch continues."""
        try:
            inputs = inputs_of(events, history, serving.model.description.encoding, state)
            told = serving.model.probabilities(inputs)
        except Exception as error:
            if not serving.shadow:
                raise
            self.in_use.leave_out(serving.model, error)
            return []
        if not serving.shadow and not asked.is_replay:
            self.drift.note(inputs, state)
        subjects = _subjects(events, inputs, state, asked, serving.model.version)
        self._once.prepare(subjects)
        new = [row for row, (event_id, each) in enumerate(subjects.items()) if self._once.is_new(event_id, each.inputs)]
        decisions = self._decisions(serving, events, inputs, told, state, np.array(new, dtype=np.int64))
        return _records(serving, subjects, told, decisions, asked)

    def _decisions(
        self, serving: Serving, events: Events, inputs: Inputs, told: Probabilities, state: State, rows: Ints
    ) -> dict[int, Decision | None]:
        """If the policy does not match the model, the probabilities are sent without decisions."""
        try:
            return self._deciding.decide(serving.model, events, inputs, told, state, rows)
        except ConfigError as error:
            log.error("decisions_failed", model_version=serving.model.version, reason=str(error))  # noqa: TRY400
            return dict.fromkeys(rows.tolist())


def _reads(model: Model, history: History) -> bool:
    """Whether the model was trained for the profile of this history."""
    return model.description.encoding.names.profile.name == history.profile.name


def _shown(summary: Summary) -> dict[str, Any]:
    found = {name: round(value, 4) if isinstance(value, float) else value for name, value in summary._asdict().items()}
    behind = summary.behind and [round(value, 4) for value in summary.behind]
    return {**found, "behind": behind}


def _subjects(events: Events, inputs: Inputs, state: State, asked: Asked, version: str) -> dict[UUID, Subject]:
    """By prediction id, one per event, in the order of the events."""
    found = {}
    as_of: Floats = events.as_of_us(state)
    for row, feature_hash in enumerate(inputs.hashes()):
        key = str(events.event_key[row])
        first = asked.first(key, state)
        assert first is not None  # noqa: S101  # `rows_to_predict` selected events with a record
        taken, places = inputs.taken[row].tolist(), (first.record.place,)
        subject = Subject(key, state, as_of[row], events.scheduled_us[row], taken, feature_hash, places)
        found[prediction_id(subject, version)] = subject
    return found


def _records(
    serving: Serving,
    subjects: Mapping[UUID, Subject],
    told: Probabilities,
    decisions: Mapping[int, Decision | None],
    asked: Asked,
) -> list[NewRecord]:
    """Records of the rows in `decisions`; a decision is None if there is no policy."""
    manner = Manner(serving.shadow, asked.is_replay)
    records = []
    for row, (event_id, subject) in enumerate(subjects.items()):
        if row in decisions:
            message = prediction_of(subject, serving.model.version, told, row, manner, decisions[row])
            records.append(encode(message, PREDICTIONS, "prediction/1", event_id, "predictor", asked.revision))
    return records
