"""`headrace train`: read the settled history, train, save a candidate with its pictures. A process of its own."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import psycopg
import torch
from threadpoolctl import threadpool_limits

from services.predictor.data.events import Events, events_of
from services.predictor.data.profile import BOATRACE, Profile
from services.predictor.data.split import Split, split_of
from services.predictor.learners.processes import side_by_side
from services.predictor.model.ensemble import Description, Trained, trained_of
from services.predictor.registry.states import Order
from services.predictor.registry.store import Registry
from services.predictor.storage.postgres_facts import read_settled
from services.predictor.training.figures import training_pictures
from services.predictor.training.hyperparameters import Training
from services.predictor.training.train import Made
from services.predictor.training.train import train as trained_on
from shared.errors import ConfigError


def registry_of(models_dir: Path) -> Registry[Description, Trained]:
    return Registry(models_dir, Description, trained_of)


def train(
    database_url: str,
    models_dir: Path,
    *,
    seed: int,
    until: date | None,
    validate_days: int | None,
    log: Callable[[str], None],
    progress: Callable[[float], None] = lambda _: None,
    workers: int | None = None,
    profile: Profile = BOATRACE,
) -> dict[str, Any]:
    """Version, days, events, seconds and metrics of the new candidate. Raises ConfigError where history is too short.

    One thread a process, whatever the machine has: sums split over threads would make the weights depend on how many.
    """
    started = time.perf_counter()
    with psycopg.connect(database_url, autocommit=True, application_name="headrace train") as connection:
        found = read_settled(connection, until, profile=profile)
    if not found:
        raise ConfigError("there is no settled event to learn from: load a history first (headrace run)")
    events = events_of(found, profile.slots)
    log(f"{len(events)} settled events read in {time.perf_counter() - started:.1f} s")
    made = model_of(events, profile, split_of(events, validate_days), seed, log, progress, workers)
    version = save(registry_of(models_dir), made, "headrace train")
    seconds = round(time.perf_counter() - started, 2)
    description = made.model.description
    log(f"model {version} is trained on {description.events} events, in {seconds:.1f} s")
    return {
        "version": version,
        "events": description.events,
        "first_day": description.first_day,
        "last_day": description.validation_last,
        "seconds": seconds,
        "parameters": sum(tensor.numel() for tensor in made.model.tensors().values()),
        "metrics": description.metrics,
    }


def model_of(
    events: Events,
    profile: Profile,
    split: Split,
    seed: int,
    log: Callable[[str], None],
    progress: Callable[[float], None] = lambda _: None,
    workers: int | None = None,
    without: tuple[str, ...] = (),
    training: Training | None = None,
) -> Made:
    """`workers`: processes side by side; None: one a core, at most four. `training`: None takes what suits the number
    of events."""
    torch.set_num_threads(1)
    threadpool_limits(1)
    run = side_by_side(workers or min(os.cpu_count() or 1, 4))
    return trained_on(events, profile, split, seed, log, progress, run, training, without)


def save(registry: Registry[Description, Trained], made: Made, who: str) -> str:
    """As a candidate, with its pictures."""
    description = made.model.description
    order = Order(at=datetime.now(UTC), who=who, why=None, request=None)
    with tempfile.TemporaryDirectory() as place:
        pictures = {path.stem: path.read_bytes() for path in training_pictures(made, Path(place))}
    return registry.save(description, description.validation_last, made.model.tensors(), order, pictures)
