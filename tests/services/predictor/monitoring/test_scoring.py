"""What the tables say of predictions of settled events."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from services.predictor.model.active import ActiveModel
from services.predictor.monitoring.postgres_scores import PostgresScores
from services.predictor.monitoring.scoring import Scoring
from shared.database.connection import ReconnectingConnection
from tests.services.predictor.season import Connection
from tests.services.predictor.serving.serving import SmallDescription, SmallModel
from tests.services.predictor.settled import BLUNT, TRUE, settle

GOOD, OTHER = "20310401-00000001", "20310401-00000002"


@pytest.fixture
def scored(database: Connection, shared_url: str) -> Iterator[PostgresScores]:
    settle(database, {GOOD: TRUE, OTHER: BLUNT}, days=10, a_day=12, states=("card", "observation"))
    found = PostgresScores(ReconnectingConnection(shared_url, "scores", autocommit=True))
    yield found
    found.close()


def test_predictions_of_settled_events_are_found_by_model_state_and_event(scored: PostgresScores) -> None:
    found = scored.recent_settled_predictions([GOOD])

    assert len(found) == 10 * 12 * 2
    assert {(each.model_version, each.state) for each in found} == {(GOOD, "card"), (GOOD, "observation")}
    assert all(sum(each.p_win.values()) == pytest.approx(1) for each in found)
    assert [each.event_key for each in found] == sorted(each.event_key for each in found)
    few = scored.settled_predictions([found[0].event_key])
    assert {(each.model_version, each.state) for each in few} == {
        (model, state) for model in (GOOD, OTHER) for state in ("card", "observation")
    }
    assert {each.winner for each in few} == {found[0].winner}


def test_wins_are_those_known_before_the_first_of_the_events(scored: PostgresScores) -> None:
    keys = [each.event_key for each in scored.recent_settled_predictions([GOOD])]

    assert sum(scored.wins(keys).values()) == 0
    assert sum(scored.wins(keys[-2:]).values()) == 10 * 12 - 1
    assert sum(scored.wins(["boatrace:2031-05-03:07:01"]).values()) == 24


def test_scores_come_back_after_a_start(scored: PostgresScores) -> None:
    description = SmallDescription(None, "2031-04-01", {})  # type: ignore[arg-type]  # scoring reads no features
    in_use = [
        ActiveModel(SmallModel(GOOD, description), shadow=False),
        ActiveModel(SmallModel(OTHER, description), shadow=True),
    ]
    scoring = Scoring(scored)

    scoring.score([], in_use)

    loss = {(each.model, each.state): each.log_loss for each in scoring.summaries()}
    assert loss.keys() == {(model, state) for model in (GOOD, OTHER) for state in ("card", "observation")}
    assert loss[GOOD, "card"] < loss[OTHER, "card"]
    assert scoring.problems(GOOD) == []
