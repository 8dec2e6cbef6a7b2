"""Compares two models of the registry on the facts of a database, if too few predictions are stored for the gate."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import psycopg

from services.predictor.data.profile import PROFILES, Profile
from services.predictor.model.ensemble import Description
from services.predictor.model.weights import trained_of
from services.predictor.promotion.replayed_duel import walked
from services.predictor.registry.gate import Duel, Judged
from services.predictor.registry.store import Registry
from services.predictor.storage.postgres_facts import read_settled
from shared.errors import ConfigError


def walk(database_url: str, models_dir: Path, duel: Duel) -> Sequence[Judged]:
    """The newest first. Reads all settled events. Raises ConfigError if the two models cannot be compared."""
    registry = Registry(models_dir, Description, trained_of)
    candidate, live = registry.load(duel.candidate), registry.load(duel.live)
    profile = profile_of(candidate.description.profile, live.description.profile)
    with psycopg.connect(database_url, autocommit=True, application_name="headrace walk") as connection:
        settled = read_settled(connection, profile=profile)
    return walked(duel, settled, profile, candidate, live)


def profile_of(candidate: str, live: str) -> Profile:
    if candidate != live or candidate not in PROFILES:
        raise ConfigError(
            f"a model of {candidate} cannot be compared with one of {live}: to promote it anyway, force the promotion"
        )
    return PROFILES[candidate]
