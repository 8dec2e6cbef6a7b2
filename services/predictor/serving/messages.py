"""Builds prediction messages from probabilities."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple
from uuid import UUID, uuid5

from services.predictor.data.events import State
from services.predictor.data.instants import instant_of
from services.predictor.data.targets import BEHAVIOUR, TREND
from services.predictor.model.interface import Probabilities
from shared.events import NAMESPACE, Decision, HeadProbability, Prediction


class PredictionInput(NamedTuple):
    """What a prediction is about and what it was made from. Instants are in microseconds since 1970."""

    event_key: str
    state: State
    as_of_us: float
    scheduled_us: float
    occupied: Sequence[bool]
    feature_hash: str
    inputs: tuple[str, ...]


class Provenance(NamedTuple):
    """How a prediction was made: by a shadow or by the live model, live or in a replay."""

    shadow: bool = False
    replayed: bool = False


def prediction_id(prediction_input: PredictionInput, model_version: str) -> UUID:
    """The same features give the same id, so a repeated prediction is the same prediction."""
    return uuid5(
        NAMESPACE,
        f"prediction/{prediction_input.event_key}/{prediction_input.state}/{model_version}/{prediction_input.feature_hash}",
    )


def prediction_of(
    prediction_input: PredictionInput,
    model_version: str,
    probabilities: Probabilities,
    row: int,
    provenance: Provenance,
    decision: Decision | None,
) -> Prediction:
    return Prediction(
        source=prediction_input.event_key.split(":", 1)[0],
        event_key=prediction_input.event_key,
        as_of=instant_of(prediction_input.as_of_us),
        scheduled_at=instant_of(prediction_input.scheduled_us),
        state=prediction_input.state,
        model_version=model_version,
        feature_hash=prediction_input.feature_hash,
        inputs=prediction_input.inputs,
        probabilities=tuple(_heads(prediction_input.occupied, probabilities, row)),
        decision=decision,
        shadow=provenance.shadow,
        replayed=provenance.replayed,
    )


def _heads(occupied: Sequence[bool], probabilities: Probabilities, row: int) -> Iterator[HeadProbability]:
    slots = [index for index, is_taken in enumerate(occupied) if is_taken]
    for index in slots:
        yield HeadProbability(head="result", slot=index + 1, label="win", probability=probabilities.win[row, index])
    for index in slots:
        yield HeadProbability(head="top3", slot=index + 1, label="top3", probability=probabilities.top3[row, index])
    for label, probability in zip(TREND, probabilities.trend[row], strict=True):
        yield HeadProbability(head="trend", label=label, probability=probability)
    for index in slots:
        for label, probability in zip(BEHAVIOUR, probabilities.behaviour[row, index], strict=True):
            yield HeadProbability(head="behaviour", slot=index + 1, label=label, probability=probability)
