"""Trains a candidate: reads the settled history, trains, and saves the model with its pictures.

`headrace train` runs this in a process of its own.
"""

from __future__ import annotations

import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg

from services.predictor.data.events import events_of
from services.predictor.data.profile import BOATRACE
from services.predictor.data.split import split_of
from services.predictor.learners.processes import use_single_thread
from services.predictor.model.ensemble import Ensemble, EnsembleDescription
from services.predictor.model.weights import ensemble_of
from services.predictor.registry.states import ChangeRequest
from services.predictor.registry.store import Registry
from services.predictor.storage.postgres_facts import read_settled
from services.predictor.training.dataset import training_set_of
from services.predictor.training.figures import training_pictures
from services.predictor.training.request import TrainingContext, TrainingRequest
from services.predictor.training.train import TrainingResult
from services.predictor.training.train import train as trained_on
from shared.errors import ConfigError


def registry_of(models_dir: Path) -> Registry[EnsembleDescription, Ensemble]:
    return Registry(models_dir, EnsembleDescription, ensemble_of)


def train(database_url: str, models_dir: Path, request: TrainingRequest, context: TrainingContext) -> dict[str, Any]:
    """Returns version, days, events, seconds and metrics of the new candidate. Raises ConfigError if the history is too
    short."""
    started = time.perf_counter()
    use_single_thread()
    with psycopg.connect(database_url, autocommit=True, application_name="headrace train") as connection:
        facts = read_settled(connection, request.until)
    if not facts:
        raise ConfigError("there is no settled event to learn from: load a history first (headrace run)")
    events = events_of(facts, BOATRACE.slots)
    context.log(f"{len(events)} settled events read in {time.perf_counter() - started:.1f} s")
    dataset = training_set_of(events, BOATRACE, split_of(events, request.validate_days))
    result = trained_on(dataset, request.seed, context)
    version = save(registry_of(models_dir), result, "headrace train")
    seconds = round(time.perf_counter() - started, 2)
    description = result.model.description
    context.log(f"model {version} trained on {description.events} events in {seconds:.1f} s")
    return {
        "version": version,
        "events": description.events,
        "first_day": description.first_day,
        "last_day": description.validation_last,
        "seconds": seconds,
        "parameters": sum(tensor.numel() for tensor in result.model.tensors().values()),
        "metrics": description.metrics,
    }


def save(registry: Registry[EnsembleDescription, Ensemble], result: TrainingResult, who: str) -> str:
    """Saves the model as a candidate, with its pictures. Returns its version."""
    description = result.model.description
    change_request = ChangeRequest(at=datetime.now(UTC), who=who, why=None, request=None)
    with tempfile.TemporaryDirectory() as folder:
        pictures = {path.stem: path.read_bytes() for path in training_pictures(result, Path(folder))}
    return registry.save(description, description.validation_last, result.model.tensors(), change_request, pictures)
