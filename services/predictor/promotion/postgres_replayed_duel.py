"""Compares two models of the registry on the facts of a database, if too few predictions are stored for the gate."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import psycopg

from services.predictor.data.profile import PROFILES, Profile
from services.predictor.model.ensemble import EnsembleDescription
from services.predictor.model.weights import ensemble_of
from services.predictor.promotion.replayed_duel import replayed_duel
from services.predictor.registry.gate import Comparison, PairedForecast
from services.predictor.registry.store import Registry
from services.predictor.storage.postgres_facts import read_settled
from shared.errors import ConfigError


def compare_on_history(database_url: str, models_dir: Path, comparison: Comparison) -> Sequence[PairedForecast]:
    """The newest first. Reads all settled events. Raises ConfigError if the two models cannot be compared."""
    registry = Registry(models_dir, EnsembleDescription, ensemble_of)
    challenger, champion = registry.load(comparison.challenger), registry.load(comparison.champion)
    profile = shared_profile(challenger.description.profile, champion.description.profile)
    with psycopg.connect(database_url, autocommit=True, application_name="headrace walk") as connection:
        settled = read_settled(connection, profile=profile)
    return replayed_duel(comparison, settled, profile, challenger, champion)


def shared_profile(challenger: str, champion: str) -> Profile:
    if challenger != champion or challenger not in PROFILES:
        raise ConfigError(
            f"a model of {challenger} cannot be compared with one of {champion}; to promote it anyway, use --force"
        )
    return PROFILES[challenger]
