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
from tests.services.predictor.serving.loaded_events import PARTS, predictions, told_of
from tests.services.predictor.serving.serving import PROFILES, Failing, SetClock, Shelf, SmallModel
from tests.waiting import terminate_backends


def test_shadows_predict_beside_the_live_model_and_are_marked(
    predictor: Predictor, shelf: Shelf, upcoming: list[Event], model: SmallModel
) -> None:
    shelf.others = {"20300301-00000002": replace(model, version="20300301-00000002", sharpness=0.3)}

    told = predictions(predictor.handle([told_of(upcoming[0], "observed")]))

    assert [(each.model_version, each.shadow) for each in told] == [(model.version, False), ("20300301-00000002", True)]
    assert told[0].feature_hash == told[1].feature_hash
    assert told[0].probabilities != told[1].probabilities


def test_shadows_predict_also_while_no_model_is_live(
    facts: PostgresFacts, clock: SetClock, upcoming: list[Event], model: SmallModel
) -> None:
    predictor = Predictor(facts, Shelf(None, {model.version: model}), clock, PARTS)

    (told,) = predictions(predictor.handle([told_of(upcoming[0], "observed")]))

    assert told.shadow
    assert predictor.model_version is None


def test_a_shadow_that_fails_or_cannot_be_read_costs_no_live_prediction(
    predictor: Predictor, shelf: Shelf, upcoming: list[Event], model: SmallModel
) -> None:
    failing = Failing("20300301-00000002", model.description)
    shelf.others = {failing.version: failing, "20300301-00000003": ConfigError("damaged")}

    told = [predictions(predictor.handle([told_of(event, "observed")])) for event in upcoming[:2]]

    assert [[each.model_version for each in found] for found in told] == [[model.version]] * 2
    assert predictor.detail()["shadows"] == []


def test_without_a_model_nothing_is_predicted_until_one_is_live(
    facts: PostgresFacts, clock: SetClock, upcoming: list[Event], model: SmallModel
) -> None:
    shelf = Shelf()
    predictor = Predictor(facts, shelf, clock, PARTS)
    batch = [told_of(upcoming[0], "observed")]
    assert predictor.handle(batch) == []

    shelf.one, shelf.number = model, 2
    assert predictor.handle(batch) == []  # within the same second
    clock.at += timedelta(seconds=1)

    assert len(predictor.handle(batch)) == 1
    assert predictor.model_version == model.version


def test_a_model_that_cannot_be_used_leaves_the_old_one_in_use(
    predictor: Predictor, shelf: Shelf, clock: SetClock, upcoming: list[Event], model: SmallModel
) -> None:
    predictor.handle([])

    shelf.error, shelf.number = ConfigError("damaged"), 2
    clock.at += timedelta(seconds=1)

    assert len(predictor.handle([told_of(upcoming[0], "observed")])) == 1
    assert predictor.model_version == model.version


def test_a_model_of_another_profile_says_nothing(
    facts: PostgresFacts, shelf: Shelf, clock: SetClock, upcoming: list[Event]
) -> None:
    other = PROFILES["made"].model_copy(update={"name": "another"})
    predictor = Predictor(facts, shelf, clock, PredictorDependencies(profiles={"made": other}))

    assert predictor.handle([told_of(upcoming[0], "observed")]) == []


def test_a_source_that_nobody_knows_how_to_read_is_left_out(
    facts: PostgresFacts, shelf: Shelf, clock: SetClock, upcoming: list[Event]
) -> None:
    assert (
        Predictor(facts, shelf, clock, PredictorDependencies(profiles={})).handle([told_of(upcoming[0], "observed")])
        == []
    )


def test_a_database_that_is_away_is_a_transient_error(
    shelf: Shelf, clock: SetClock, upcoming: list[Event], tmp_path: object
) -> None:
    facts = PostgresFacts(
        ReconnectingConnection(make_conninfo(host=str(tmp_path), dbname="none"), "facts", autocommit=True)
    )

    with pytest.raises(TransientError, match="cannot read facts"):
        Predictor(facts, shelf, clock, PARTS).handle([told_of(upcoming[0], "listed")])


def test_a_connection_that_broke_since_is_made_again_at_once(
    predictor: Predictor, upcoming: list[Event], loaded: Connection
) -> None:
    batch = [told_of(upcoming[0], "observed")]
    before = predictor.handle(batch)
    terminate_backends(loaded, "datname = current_database()")

    assert predictor.handle(batch) == before
