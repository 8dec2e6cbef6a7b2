"""Decisions of the policy, given the session so far."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.predictor.serving.predict import Predictor
from services.predictor.storage.postgres_facts import PostgresFacts
from tests.services.predictor.season import Connection, Event
from tests.services.predictor.serving.loaded_events import (
    DEPENDENCIES,
    loaded_record,
    predictions,
    settle,
    store_predictions,
)
from tests.services.predictor.serving.small_serving_model import (
    AlwaysFirst,
    InMemoryRegistry,
    Misfit,
    SetClock,
    SmallModel,
)


def test_decisions_depend_on_the_session_so_far(
    facts: PostgresFacts, clock: SetClock, upcoming: list[Event], loaded: Connection, model: SmallModel
) -> None:
    registry = InMemoryRegistry(replace(model, policy=AlwaysFirst()))
    predictor = Predictor(facts, registry, clock, DEPENDENCIES)
    records = predictor.handle([loaded_record(event, "observed") for event in upcoming[:3]])
    store_predictions(loaded, records)
    settle(loaded, upcoming[0], winner=2)
    loaded.execute(
        "INSERT INTO facts.transactions (event_id, market, selection, amount, ordinal)"
        " SELECT id, 'win', '2', 450, 1 FROM facts.events WHERE event_key = %s",
        (upcoming[0].key,),
    )

    restarted = Predictor(facts, registry, clock, DEPENDENCIES)
    (prediction,) = predictions(restarted.handle([loaded_record(upcoming[5], "observed")]))

    assert prediction.decision is not None
    assert prediction.decision.action == "back 1"
    assert prediction.decision.values["remaining"] == pytest.approx(7 / 12)
    assert prediction.decision.values["staked"] == pytest.approx(3 / 12)
    assert prediction.decision.values["net"] == pytest.approx(-1 / 12)
    assert prediction.decision.values["win"] == pytest.approx(prediction.probabilities[0].probability)


def test_a_policy_that_fails_does_not_prevent_the_prediction(
    predictor: Predictor, registry: InMemoryRegistry, upcoming: list[Event], model: SmallModel
) -> None:
    registry.live_model = replace(model, policy=Misfit())

    (prediction,) = predictions(predictor.handle([loaded_record(upcoming[0], "observed")]))

    assert prediction.decision is None
