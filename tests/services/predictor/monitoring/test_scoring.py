"""Scores of settled predictions from the tables."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from services.predictor.model.active import ActiveModel
from services.predictor.monitoring.postgres_scores import PostgresScores
from services.predictor.monitoring.scoring import Scoring
from shared.database.connection import ReconnectingConnection
from tests.services.predictor.season import Connection
from tests.services.predictor.serving.small_serving_model import SmallDescription, SmallModel
from tests.services.predictor.settled_rows import BLUNT, TRUE, settle

GOOD, OTHER = "20310401-00000001", "20310401-00000002"


@pytest.fixture
def scores(database: Connection, shared_url: str) -> Iterator[PostgresScores]:
    settle(database, {GOOD: TRUE, OTHER: BLUNT}, days=10, a_day=12, states=("card", "observation"))
    scores = PostgresScores(ReconnectingConnection(shared_url, "scores", autocommit=True))
    yield scores
    scores.close()


def test_predictions_of_settled_events_are_found_by_model_state_and_event(scores: PostgresScores) -> None:
    predictions = scores.recent_settled_predictions([GOOD])

    assert len(predictions) == 10 * 12 * 2
    assert {(each.model_version, each.state) for each in predictions} == {(GOOD, "card"), (GOOD, "observation")}
    assert all(sum(each.p_win.values()) == pytest.approx(1) for each in predictions)
    assert [each.event_key for each in predictions] == sorted(each.event_key for each in predictions)
    few = scores.settled_predictions([predictions[0].event_key])
    assert {(each.model_version, each.state) for each in few} == {
        (model, state) for model in (GOOD, OTHER) for state in ("card", "observation")
    }
    assert {each.winner for each in few} == {predictions[0].winner}


def test_wins_are_those_known_before_the_first_of_the_events(scores: PostgresScores) -> None:
    keys = [each.event_key for each in scores.recent_settled_predictions([GOOD])]

    assert sum(scores.wins(keys).values()) == 0
    assert sum(scores.wins(keys[-2:]).values()) == 10 * 12 - 1
    assert sum(scores.wins(["boatrace:2031-05-03:07:01"]).values()) == 24


def test_scores_are_restored_after_a_start(scores: PostgresScores) -> None:
    description = SmallDescription(None, "2031-04-01", {})  # type: ignore[arg-type]  # scoring reads no features
    active = [
        ActiveModel(SmallModel(GOOD, description), shadow=False),
        ActiveModel(SmallModel(OTHER, description), shadow=True),
    ]
    scoring = Scoring(scores)

    scoring.score([], active)

    loss = {(each.model, each.state): each.log_loss for each in scoring.summaries()}
    assert loss.keys() == {(model, state) for model in (GOOD, OTHER) for state in ("card", "observation")}
    assert loss[GOOD, "card"] < loss[OTHER, "card"]
    assert scoring.problems(GOOD) == []
