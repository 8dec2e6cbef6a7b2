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

from services.predictor.data.events import STATES, Events, Floats, Ints, State, events_of, supported_events
from services.predictor.data.profile import PROFILES, Profile, source_of
from services.predictor.features.history import History
from services.predictor.features.inputs import Inputs, inputs_of
from services.predictor.model.active import ActiveModel, ActiveModels
from services.predictor.model.interface import Model, Models, Probabilities
from services.predictor.monitoring.drift import Drift
from services.predictor.monitoring.rolling_scores import ScoreSummary
from services.predictor.monitoring.scoring import ScoredFacts, Scoring
from services.predictor.serving.decisions import DecisionFacts, PolicyRunner
from services.predictor.serving.deduplication import LoadedPredictions, SentPredictions, TopicTail
from services.predictor.serving.explanation import Explanation, explain
from services.predictor.serving.history_cache import HistoryCache, SettledFacts
from services.predictor.serving.messages import PredictionInput, Provenance, prediction_id, prediction_of
from services.predictor.serving.requests import PredictionRequest, recently_settled, requests_in, rows_to_predict
from shared.broker.contract import NewRecord
from shared.clock import Clock
from shared.errors import ConfigError
from shared.events import Decision
from shared.records import DecodedRecord, encode
from shared.topics import PREDICTIONS

log = structlog.get_logger("predictor")


class Facts(SettledFacts, DecisionFacts, LoadedPredictions, Protocol):
    """Facts from the tables (storage/postgres_facts.py). Each call raises TransientError if the database is
    unavailable."""


class PredictorDependencies(NamedTuple):
    """Optional dependencies. `tail`: None finds earlier predictions in the tables only. `scored`: None computes no
    scores."""

    tail: TopicTail | None = None
    scored: ScoredFacts | None = None
    profiles: Mapping[str, Profile] = PROFILES


class Predictor:
    """`handle` returns the same records if it runs twice on a batch. For one thread; others may call `detail`."""

    def __init__(
        self,
        facts: Facts,
        models: Models,
        clock: Clock,
        dependencies: PredictorDependencies = PredictorDependencies(),  # noqa: B008 (frozen)
    ) -> None:
        self.active_models = ActiveModels(models)
        self.history_cache = HistoryCache(facts, dependencies.profiles)
        self.drift = Drift()
        self._facts, self._clock = facts, clock
        self._sent = SentPredictions(facts, dependencies.tail)
        self._scoring = Scoring(dependencies.scored)
        self._policy_runner = PolicyRunner(facts)

    @property
    def summaries(self) -> list[ScoreSummary]:
        """Recent scores of the models."""
        return self._scoring.summaries()

    @property
    def model_version(self) -> str | None:
        """Version of the live model; None: there is none."""
        return self.active_models.live.version if self.active_models.live else None

    def detail(self) -> dict[str, Any]:
        """For the status page: the active models, their recent scores, and problems."""
        detail: dict[str, Any] = {
            "model_version": self.model_version,
            "shadows": [model.version for model in self.active_models.shadows],
            "scores": [_summary_json(each) for each in self._scoring.summaries()],
            "drift": self.drift.worst(),
        }
        problems = self._scoring.problems(self.model_version)
        return {**detail, "trouble": "; ".join(problems)} if problems else detail

    def handle(self, batch: Sequence[DecodedRecord]) -> list[NewRecord]:
        """Raises TransientError if the database or the broker is unavailable."""
        now = self._clock.now()
        if self.active_models.refresh(now):
            self.drift.compare_with(self.active_models.live)
        if not self.active_models.all:
            return []
        self._scoring.score(recently_settled(batch, now), self.active_models.all)
        requests = requests_in(batch, now)
        if not requests:
            return []
        self.history_cache.refresh()
        return [record for each in requests for record in self._predict(each)]

    def explain(self, event_key: str, state: State) -> Explanation | None:
        """Explains the live model's prediction; None: no model is live, or the event was not known in this state."""
        self.active_models.refresh(self._clock.now())
        model, source = self.active_models.live, source_of(event_key)
        if model is None or self.history_cache.history(source) is None:
            return None
        self.history_cache.refresh()
        history = self.history_cache.history(source)
        if history is None or not _matches_profile(model, history):
            return None
        events = self._events([event_key], history)
        events = events[np.isfinite(events.as_of_us(state))]
        return explain(model, events, history, state)[0] if len(events) else None

    def _predict(self, request: PredictionRequest) -> list[NewRecord]:
        sources: dict[str, list[str]] = {}
        for key in request.records:
            sources.setdefault(source_of(key), []).append(key)
        return [record for source, keys in sources.items() for record in self._predict_of(source, keys, request)]

    def _predict_of(self, source: str, keys: Sequence[str], request: PredictionRequest) -> list[NewRecord]:
        """Predictions for events of one source, by the models that were trained for its profile."""
        history = self.history_cache.history(source)
        if history is None:
            return []
        events = self._events(keys, history)
        records = []
        for active in self.active_models.all:
            if not _matches_profile(active.model, history):
                continue
            for state in STATES:
                rows = rows_to_predict(events, state, request)
                if len(rows):
                    records += self._new_predictions(active, events[rows], history, state, request)
        return records

    def _events(self, keys: Sequence[str], history: History) -> Events:
        slots = history.profile.slots
        return events_of(supported_events(self._facts.events(keys), slots), slots)

    def _new_predictions(
        self, active: ActiveModel, events: Events, history: History, state: State, request: PredictionRequest
    ) -> list[NewRecord]:
        """New predictions of these events by this model. If a shadow fails, it is disabled, and the batch continues."""
        try:
            inputs = inputs_of(events, history, active.model.description.encoding, state)
            probabilities = active.model.probabilities(inputs)
        except Exception as error:
            if not active.shadow:
                raise
            self.active_models.disable_shadow(active.model, error)
            return []
        if not active.shadow and not request.is_replay:
            self.drift.add(inputs, state)
        prediction_inputs = _prediction_inputs(events, inputs, state, request, active.model.version)
        self._sent.prepare(prediction_inputs)
        new = [
            row
            for row, (event_id, each) in enumerate(prediction_inputs.items())
            if self._sent.is_new(event_id, each.inputs)
        ]
        decisions = self._decisions(active, events, inputs, probabilities, state, np.array(new, dtype=np.int64))
        return _records(active, prediction_inputs, probabilities, decisions, request)

    def _decisions(
        self,
        active: ActiveModel,
        events: Events,
        inputs: Inputs,
        probabilities: Probabilities,
        state: State,
        rows: Ints,
    ) -> dict[int, Decision | None]:
        """If the policy does not match the model, the probabilities are sent without decisions."""
        try:
            return self._policy_runner.decide(active.model, events, inputs, probabilities, state, rows)
        except ConfigError as error:
            log.error("decisions_failed", model_version=active.model.version, reason=str(error))  # noqa: TRY400
            return dict.fromkeys(rows.tolist())


def _matches_profile(model: Model, history: History) -> bool:
    """Whether the model was trained for the profile of this history."""
    return model.description.encoding.names.profile.name == history.profile.name


def _summary_json(summary: ScoreSummary) -> dict[str, Any]:
    rounded = {
        name: round(value, 4) if isinstance(value, float) else value for name, value in summary._asdict().items()
    }
    behind = summary.behind and [round(value, 4) for value in summary.behind]
    return {**rounded, "behind": behind}


def _prediction_inputs(
    events: Events, inputs: Inputs, state: State, request: PredictionRequest, version: str
) -> dict[UUID, PredictionInput]:
    """By prediction id, one per event, in the order of the events."""
    by_id = {}
    as_of: Floats = events.as_of_us(state)
    for row, feature_hash in enumerate(inputs.hashes()):
        key = str(events.event_key[row])
        first = request.first(key, state)
        assert first is not None  # noqa: S101  # `rows_to_predict` selected events with a record
        occupied, places = inputs.occupied[row].tolist(), (first.record.place,)
        prediction_input = PredictionInput(
            key, state, as_of[row], events.scheduled_us[row], occupied, feature_hash, places
        )
        by_id[prediction_id(prediction_input, version)] = prediction_input
    return by_id


def _records(
    active: ActiveModel,
    prediction_inputs: Mapping[UUID, PredictionInput],
    probabilities: Probabilities,
    decisions: Mapping[int, Decision | None],
    request: PredictionRequest,
) -> list[NewRecord]:
    """Records of the rows in `decisions`; a decision is None if there is no policy."""
    provenance = Provenance(active.shadow, request.is_replay)
    records = []
    for row, (event_id, prediction_input) in enumerate(prediction_inputs.items()):
        if row in decisions:
            message = prediction_of(
                prediction_input, active.model.version, probabilities, row, provenance, decisions[row]
            )
            records.append(encode(message, PREDICTIONS, "prediction/1", event_id, "predictor", request.revision))
    return records
