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


class Subject(NamedTuple):
    """What a prediction is about and what it was made from. Instants are in microseconds since 1970."""

    event_key: str
    state: State
    as_of_us: float
    scheduled_us: float
    taken: Sequence[bool]
    feature_hash: str
    inputs: tuple[str, ...]


class Manner(NamedTuple):
    """How a prediction was made: by a shadow or by the live model, live or in a replay."""

    shadow: bool = False
    replayed: bool = False


def prediction_id(subject: Subject, model_version: str) -> UUID:
    """The same features give the same id, so a repeated prediction is the same prediction."""
    return uuid5(NAMESPACE, f"prediction/{subject.event_key}/{subject.state}/{model_version}/{subject.feature_hash}")


def prediction_of(
    subject: Subject, model_version: str, told: Probabilities, row: int, manner: Manner, decision: Decision | None
) -> Prediction:
    return Prediction(
        source=subject.event_key.split(":", 1)[0],
        event_key=subject.event_key,
        as_of=instant_of(subject.as_of_us),
        scheduled_at=instant_of(subject.scheduled_us),
        state=subject.state,
        model_version=model_version,
        feature_hash=subject.feature_hash,
        inputs=subject.inputs,
        probabilities=tuple(_heads(subject.taken, told, row)),
        decision=decision,
        shadow=manner.shadow,
        replayed=manner.replayed,
    )


def _heads(taken: Sequence[bool], told: Probabilities, row: int) -> Iterator[HeadProbability]:
    slots = [index for index, is_taken in enumerate(taken) if is_taken]
    for index in slots:
        yield HeadProbability(head="result", slot=index + 1, label="win", probability=told.win[row, index])
    for index in slots:
        yield HeadProbability(head="top3", slot=index + 1, label="top3", probability=told.top3[row, index])
    for label, probability in zip(TREND, told.trend[row], strict=True):
        yield HeadProbability(head="trend", label=label, probability=probability)
    for index in slots:
        for label, probability in zip(BEHAVIOUR, told.behaviour[row, index], strict=True):
            yield HeadProbability(head="behaviour", slot=index + 1, label=label, probability=probability)
