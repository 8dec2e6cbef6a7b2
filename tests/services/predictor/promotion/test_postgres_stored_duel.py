"""The stored predictions that the gate compares: of both models, before the start, on days after their training."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import psycopg
import pytest

from services.predictor.promotion.postgres_stored_duel import stored_duel
from services.predictor.registry.gate import Comparison
from tests.services.predictor.settled_rows import BLUNT, FIRST, TRUE, settle

Database = psycopg.Connection[Any]
NEW, OLD = "20310430-00000001", "20310331-00000002"
DUEL = Comparison(NEW, OLD, FIRST - timedelta(days=1))


@pytest.fixture
def database(shared_url: str) -> Iterator[Database]:
    with psycopg.connect(shared_url, autocommit=True) as connection, connection.transaction(force_rollback=True):
        yield connection


def test_each_event_is_compared_once_with_both_predictions(database: Database) -> None:
    settle(database, {NEW: TRUE, OLD: BLUNT}, days=2, a_day=4, states=("card", "observation"))

    forecasts = stored_duel(database, DUEL)

    assert [each.event_key for each in forecasts] == [
        f"boatrace:2031-05-{day:02}:07:{number:02}" for day in (2, 1) for number in (4, 3, 2, 1)
    ]
    assert {each.cluster for each in forecasts} == {"2031-05-01 7", "2031-05-02 7"}
    for each in forecasts:
        assert max(each.challenger) == pytest.approx(0.6, abs=1e-3)
        assert max(each.champion) == pytest.approx(0.379, abs=1e-3)
        assert each.challenger.index(max(each.challenger)) == each.champion.index(max(each.champion))


def test_the_winner_is_the_entry_that_came_first(database: Database) -> None:
    settle(database, {NEW: TRUE, OLD: BLUNT}, days=1, a_day=6)
    winners = dict(
        database.execute(
            "SELECT event_key, slot FROM analytics.outcomes JOIN analytics.events USING (event_key) WHERE place = 1"
        ).fetchall()
    )

    assert {each.event_key: each.winner + 1 for each in stored_duel(database, DUEL)} == winners


@pytest.mark.parametrize("logits", [{NEW: TRUE}, {OLD: BLUNT}, {}])
def test_an_event_that_only_one_model_predicted_is_left_out(database: Database, logits: dict[str, float]) -> None:
    settle(database, logits, days=1)

    assert stored_duel(database, DUEL) == []


def test_a_prediction_after_the_start_is_left_out(database: Database) -> None:
    settle(database, {NEW: TRUE, OLD: BLUNT}, days=1, late=True)

    assert stored_duel(database, DUEL) == []


def test_days_that_a_model_was_trained_on_are_left_out(database: Database) -> None:
    settle(database, {NEW: TRUE, OLD: BLUNT}, days=3, a_day=2)

    forecasts = stored_duel(database, DUEL._replace(after=date(2031, 5, 2)))

    assert {each.cluster for each in forecasts} == {"2031-05-03 7"}


def test_different_states_are_never_compared(database: Database) -> None:
    settle(database, {NEW: TRUE}, days=1, a_day=3, states=["card"])
    database.execute(
        "INSERT INTO facts.predictions SELECT gen_random_uuid(), event_id, 'observation', %s, as_of, shadow,"
        " feature_hash, probabilities, decision FROM facts.predictions",
        (OLD,),
    )

    assert stored_duel(database, DUEL) == []


def test_of_several_predictions_the_newest_counts(database: Database) -> None:
    settle(database, {NEW: BLUNT, OLD: BLUNT}, days=1, a_day=1)
    database.execute(
        "INSERT INTO facts.predictions SELECT gen_random_uuid(), event_id, state, model_version,"
        " as_of + interval '5 min', shadow, feature_hash, jsonb_path_query_array(probabilities, '$[0 to 1]'), decision"
        " FROM facts.predictions"
    )

    for each in stored_duel(database, DUEL):
        assert len(each.challenger) == len(each.champion) == 2


def test_the_newest_events_are_compared_up_to_the_limit(database: Database) -> None:
    settle(database, {NEW: TRUE, OLD: BLUNT}, days=3, a_day=4)

    forecasts = stored_duel(database, DUEL._replace(most=5))

    assert len(forecasts) == 5
    assert {each.cluster for each in forecasts} == {"2031-05-03 7", "2031-05-02 7"}
