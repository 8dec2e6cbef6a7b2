"""Scores of stored predictions, next to those of the base rate and the truth."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from uuid import uuid4

import orjson
import pytest

from services.predictor.backtest.live_scores import evaluate
from tests.services.predictor.season import Connection, Event, season, store


@pytest.fixture
def events() -> list[Event]:
    return season(3, 12, seed=9, entities=30)


def store_prediction(
    connection: Connection,
    event: Event,
    p_win: tuple[float, ...],
    as_of: datetime,
    state: str = "card",
    shadow: bool = False,
) -> None:
    heads = [{"head": "result", "slot": slot, "label": "win", "probability": p} for slot, p in enumerate(p_win, 1)]
    heads.append({"head": "trend", "slot": 0, "label": "low", "probability": 1.0})
    connection.execute(
        "INSERT INTO facts.predictions SELECT %s, id, %s, 'v', %s, %s, 'hash', %s FROM facts.events"
        " WHERE event_key = %s",
        (uuid4(), state, as_of, shadow, orjson.dumps(heads).decode(), event.key),
    )


def test_true_probabilities_score_as_the_truth(database: Connection, events: list[Event]) -> None:
    store(database, events)
    for event in events[24:]:
        store_prediction(database, event, event.truth, event.listed_at)

    scores = evaluate(database, {event.key: event.truth for event in events})["card"]

    expected = -sum(math.log(event.truth[event.order[0] - 1]) for event in events[24:]) / 12
    assert scores["n"] == 12
    assert scores["log_loss"] == pytest.approx(expected)
    assert scores["truth_log_loss"] == pytest.approx(expected)


def test_the_base_rate_counts_only_events_settled_before(database: Connection, events: list[Event]) -> None:
    store(database, events)
    for event in events[24:]:
        store_prediction(database, event, (1 / 6,) * 6, event.listed_at)

    scores = evaluate(database)["card"]

    wins = [1 + sum(event.order[0] == slot for event in events[:24]) for slot in range(1, 7)]
    expected = -sum(math.log(wins[event.order[0] - 1] / sum(wins)) for event in events[24:]) / 12
    assert scores["base_log_loss"] == pytest.approx(expected)
    assert scores["log_loss"] == pytest.approx(math.log(6))
    assert "truth_log_loss" not in scores


def test_the_newest_prediction_before_the_start_counts(database: Connection, events: list[Event]) -> None:
    store(database, events)
    event = events[30]
    winner = event.order[0]
    for p, minutes in ((0.1, -90), (0.5, -60), (0.9, 1)):
        others = (1 - p) / 5
        p_win = tuple(p if slot == winner else others for slot in range(1, 7))
        store_prediction(database, event, p_win, event.scheduled_at + timedelta(minutes=minutes))

    assert evaluate(database)["card"]["log_loss"] == pytest.approx(math.log(2))


def test_shadow_predictions_are_not_scored(database: Connection, events: list[Event]) -> None:
    store(database, events)
    store_prediction(database, events[30], events[30].truth, events[30].listed_at, shadow=True)

    assert evaluate(database) == {}


def test_a_dead_heat_is_not_scored(database: Connection, events: list[Event]) -> None:
    store(database, events)
    store_prediction(database, events[30], events[30].truth, events[30].listed_at)
    database.execute("UPDATE facts.outcomes SET place = 1 WHERE place = 2")

    assert evaluate(database) == {}


def test_calibration_is_reported_if_there_are_enough_events(database: Connection) -> None:
    events = season(10, 12, seed=9, entities=30)
    store(database, events)
    for event in events:
        store_prediction(database, event, event.truth, event.listed_at, state="observation")

    scores = evaluate(database)["observation"]

    assert 0 < scores["ece"] < 0.05
