"""`headrace train`: read the settled history, train, save the model and make it live. Run as a process of its own."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import psycopg
import torch

from services.predictor.postgres_facts import read_season
from services.predictor.registry import Registry
from services.predictor.train import train as trained_on

# The market whose settled amount is the event's trend.
MARKET = "trifecta"


def train(
    database_url: str,
    models_dir: Path,
    seed: int = 7,
    until: date | None = None,
    log: Callable[[str], None] = print,
    market: str = MARKET,
) -> dict[str, Any]:
    """Version, events, seconds and metrics of the new live model. Raises ConfigError where history is too short.

    One thread, whatever the machine has: sums split over threads would make the weights depend on how many it is.
    """
    started = time.perf_counter()
    torch.set_num_threads(1)
    with psycopg.connect(database_url, autocommit=True, application_name="headrace train") as connection:
        season = read_season(connection, market, until)
    log(f"{len(season.amounts)} settled events read in {time.perf_counter() - started:.1f} s")
    description, network = trained_on(season, market, seed, log)
    registry = Registry(models_dir)
    version = registry.save(description, network)
    registry.set_live(version)
    seconds = round(time.perf_counter() - started, 2)
    log(f"model {version} is live; trained on {description.events} events in {seconds:.1f} s")
    return {
        "version": version,
        "events": description.events,
        "first_day": description.first_day,
        "last_day": description.last_day,
        "seconds": seconds,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "metrics": description.metrics,
    }
