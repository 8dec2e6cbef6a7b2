"""Which models predict, and what happens when a model or the database is missing."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from psycopg.conninfo import make_conninfo

from services.predictor.serving.predict import Predictor, PredictorDependencies
from services.predictor.storage.postgres_facts import PostgresFacts
from shared.database.connection import ReconnectingConnection
from shared.errors import ConfigError, TransientError
from tests.services.predictor.season import Connection, Event
from tests.services.predictor.serving.loaded_events import DEPENDENCIES, loaded_record, predictions
from tests.services.predictor.serving.small_serving_model import (
    PROFILES,
    Failing,
    InMemoryRegistry,
    SetClock,
    SmallModel,
)
from tests.waiting import terminate_backends


def test_shadows_predict_beside_the_live_model_and_are_marked(
    predictor: Predictor, registry: InMemoryRegistry, upcoming: list[Event], model: SmallModel
) -> None:
    registry.shadow_models = {"20300301-00000002": replace(model, version="20300301-00000002", sharpness=0.3)}

    messages = predictions(predictor.handle([loaded_record(upcoming[0], "observed")]))

    assert [(each.model_version, each.shadow) for each in messages] == [
        (model.version, False),
        ("20300301-00000002", True),
    ]
    assert messages[0].feature_hash == messages[1].feature_hash
    assert messages[0].probabilities != messages[1].probabilities


def test_shadows_predict_also_while_no_model_is_live(
    facts: PostgresFacts, clock: SetClock, upcoming: list[Event], model: SmallModel
) -> None:
    predictor = Predictor(facts, InMemoryRegistry(None, {model.version: model}), clock, DEPENDENCIES)

    (prediction,) = predictions(predictor.handle([loaded_record(upcoming[0], "observed")]))

    assert prediction.shadow
    assert predictor.model_version is None


def test_a_shadow_that_fails_or_cannot_be_read_costs_no_live_prediction(
    predictor: Predictor, registry: InMemoryRegistry, upcoming: list[Event], model: SmallModel
) -> None:
    failing = Failing("20300301-00000002", model.description)
    registry.shadow_models = {failing.version: failing, "20300301-00000003": ConfigError("damaged")}

    messages = [predictions(predictor.handle([loaded_record(event, "observed")])) for event in upcoming[:2]]

    assert [[each.model_version for each in batch] for batch in messages] == [[model.version]] * 2
    assert predictor.detail()["shadows"] == []


def test_without_a_model_nothing_is_predicted_until_one_is_live(
    facts: PostgresFacts, clock: SetClock, upcoming: list[Event], model: SmallModel
) -> None:
    registry = InMemoryRegistry()
    predictor = Predictor(facts, registry, clock, DEPENDENCIES)
    batch = [loaded_record(upcoming[0], "observed")]
    assert predictor.handle(batch) == []

    registry.live_model, registry.changed = model, 2
    assert predictor.handle(batch) == []  # within the same second
    clock.at += timedelta(seconds=1)

    assert len(predictor.handle(batch)) == 1
    assert predictor.model_version == model.version


def test_a_model_that_cannot_be_used_leaves_the_old_one_in_use(
    predictor: Predictor, registry: InMemoryRegistry, clock: SetClock, upcoming: list[Event], model: SmallModel
) -> None:
    predictor.handle([])

    registry.error, registry.changed = ConfigError("damaged"), 2
    clock.at += timedelta(seconds=1)

    assert len(predictor.handle([loaded_record(upcoming[0], "observed")])) == 1
    assert predictor.model_version == model.version


def test_a_model_of_another_profile_predicts_nothing(
    facts: PostgresFacts, registry: InMemoryRegistry, clock: SetClock, upcoming: list[Event]
) -> None:
    other = PROFILES["made"].model_copy(update={"name": "another"})
    predictor = Predictor(facts, registry, clock, PredictorDependencies(profiles={"made": other}))

    assert predictor.handle([loaded_record(upcoming[0], "observed")]) == []


def test_a_source_without_a_profile_is_left_out(
    facts: PostgresFacts, registry: InMemoryRegistry, clock: SetClock, upcoming: list[Event]
) -> None:
    assert (
        Predictor(facts, registry, clock, PredictorDependencies(profiles={})).handle(
            [loaded_record(upcoming[0], "observed")]
        )
        == []
    )


def test_an_unreachable_database_is_a_transient_error(
    registry: InMemoryRegistry, clock: SetClock, upcoming: list[Event], tmp_path: object
) -> None:
    facts = PostgresFacts(
        ReconnectingConnection(make_conninfo(host=str(tmp_path), dbname="none"), "facts", autocommit=True)
    )

    with pytest.raises(TransientError, match="cannot read facts"):
        Predictor(facts, registry, clock, DEPENDENCIES).handle([loaded_record(upcoming[0], "listed")])


def test_a_broken_connection_is_reopened_at_once(
    predictor: Predictor, upcoming: list[Event], loaded: Connection
) -> None:
    batch = [loaded_record(upcoming[0], "observed")]
    before = predictor.handle(batch)
    terminate_backends(loaded, "datname = current_database()")

    assert predictor.handle(batch) == before
