"""The drift of features since training."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.predictor.data.events import Events, events_of
from services.predictor.features.history import History
from services.predictor.features.inputs import inputs_of
from services.predictor.monitoring.drift import Drift
from services.predictor.storage.postgres_facts import read_settled
from tests.services.predictor.season import Connection, season, store
from tests.services.predictor.serving.small_serving_model import PROFILES, model_of


@pytest.fixture
def history(database: Connection) -> Events:
    """Three days of settled events."""
    store(database, season(4, 12, seed=21)[:36])
    return events_of(read_settled(database), 6)


def test_drift_names_the_feature_that_moved(history: Events) -> None:
    model = model_of(history)
    feature_history = History(PROFILES["made"])
    feature_history.fold(history)
    inputs = inputs_of(history, feature_history, model.description.encoding, "card")
    drift = Drift()
    drift.compare_with(model)
    for _ in range(10):
        drift.add(inputs, "card")
    before = drift.worst()
    name = "starts"
    moved = inputs.entry.copy()
    moved[..., model.description.encoding.entry_features.index(name)] += 40
    for _ in range(60):
        drift.add(replace(inputs, entry=moved), "card")

    now = drift.worst()
    assert max(now, key=lambda each: now[each] - before.get(each, 0.0)) == name
    assert now[name] > 0.25
    assert set(drift.groups()) == {"card", "history"}
