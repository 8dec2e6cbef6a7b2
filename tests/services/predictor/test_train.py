"""Training on a season whose truth is known."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import psycopg
import pytest

from services.predictor.facts import STATES
from services.predictor.features import features_of
from services.predictor.measure import log_loss
from services.predictor.postgres_facts import Connection, read_cards, read_season
from services.predictor.registry import Registry
from services.predictor.train import training_days
from services.predictor.train_command import train
from shared.errors import ConfigError
from tests.services.predictor.conftest import Schooled, Stored
from tests.services.predictor.season import SLOT, season, store


def test_on_days_never_seen_it_beats_the_base_rate_and_comes_near_the_truth(
    stored_season: Stored, schooled: Schooled
) -> None:
    model = schooled.registry.live()
    assert model is not None
    with psycopg.connect(stored_season.url, autocommit=True) as connection:
        cards = read_cards(connection, [event.key for event in stored_season.unseen])
    by_key = {event.key: event for event in stored_season.unseen}
    events = [by_key[key] for key in cards.events["event_key"]]
    winner = np.array([event.order[0] - 1 for event in events])

    found = {
        state: log_loss(model.probabilities(features_of(cards, model.description.encoding, state)).win, winner).mean()
        for state in STATES
    }

    rates = np.array(model.description.encoding.names.win_rate)
    base = log_loss(np.tile(rates / rates.sum(), (len(events), 1)), winner).mean()
    truth = log_loss(np.array([event.truth for event in events]), winner).mean()
    assert truth < found["observation"] < found["card"] < base
    assert found["observation"] - truth < 0.35 * (base - truth)


def test_every_head_is_reported_against_its_base_rate(schooled: Schooled) -> None:
    metrics = schooled.report["metrics"]

    for state in STATES:
        for head in ("result", "top3", "behaviour"):
            assert metrics[f"{state}_{head}"] < metrics[f"{state}_{head}_base"]
        assert metrics[f"{state}_trend"] < metrics[f"{state}_trend_base"] + 0.02
    assert schooled.report["events"] == 34 * 30


def test_every_head_sums_to_one_over_its_classes(stored_season: Stored, schooled: Schooled) -> None:
    model = schooled.registry.live()
    assert model is not None
    with psycopg.connect(stored_season.url, autocommit=True) as connection:
        cards = read_cards(connection, [event.key for event in stored_season.unseen[:20]])

    told = model.probabilities(features_of(cards, model.description.encoding, "observation"))

    np.testing.assert_allclose(told.win.sum(axis=1), 1)
    np.testing.assert_allclose(told.trend.sum(axis=1), 1)
    np.testing.assert_allclose(told.behaviour.sum(axis=2), 1)
    assert ((told.top3 > 0) & (told.top3 < 1)).all()


def test_what_is_told_of_one_event_does_not_depend_on_its_batch(stored_season: Stored, schooled: Schooled) -> None:
    model = schooled.registry.live()
    assert model is not None
    with psycopg.connect(stored_season.url, autocommit=True) as connection:
        cards = read_cards(connection, [event.key for event in stored_season.unseen[:50]])
    features = features_of(cards, model.description.encoding, "card")

    together = model.probabilities(features)

    for row in range(50):
        alone = model.probabilities(features[np.array([row])])
        for head in ("win", "top3", "trend", "behaviour"):
            np.testing.assert_array_equal(getattr(alone, head)[0], getattr(together, head)[row])


def test_no_event_after_the_last_day_is_learned_from(stored_season: Stored) -> None:
    until = date.fromisoformat(stored_season.last_trained_day)

    with psycopg.connect(stored_season.url, autocommit=True) as connection:
        found = read_season(connection, "trifecta", until)

    assert found.days.max() == until.isoformat()
    assert set(found.cards.starts["event_key"]) <= set(found.cards.events["event_key"])


def test_validation_is_the_newest_days_whole(stored_season: Stored) -> None:
    with psycopg.connect(stored_season.url, autocommit=True) as connection:
        found = read_season(connection, "trifecta")

    training = training_days(found)

    assert found.days[training].max() < found.days[~training].min()
    assert 0.1 < 1 - training.mean() < 0.2


def test_the_same_seed_and_history_give_the_same_model(database_url: str, tmp_path: Path) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        store(connection, season(10, 12, seed=2, entities=30))

    first, again, other = (
        train(database_url, tmp_path / name, seed=seed, log=lambda line: None)["version"]
        for name, seed in (("first", 1), ("again", 1), ("other", 2))
    )

    assert first == again
    assert first != other
    weights = [(tmp_path / name / first / "weights.safetensors").read_bytes() for name in ("first", "again")]
    assert weights[0] == weights[1]


def test_too_little_history_is_refused_and_nothing_is_written(database_url: str, tmp_path: Path) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        store(connection, season(2, 3, seed=2))

    with pytest.raises(ConfigError, match=r"at least 100 settled events .* found 6"):
        train(database_url, tmp_path, log=lambda line: None)

    assert Registry(tmp_path).live() is None
    assert not list(tmp_path.iterdir())


def test_no_history_at_all_is_refused(database_url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="found 0"):
        train(database_url, tmp_path, log=lambda line: None)


def test_the_base_rates_are_those_of_the_slots(schooled: Schooled) -> None:
    model = schooled.registry.live()
    assert model is not None

    rates = model.description.encoding.names.win_rate

    assert np.argsort(rates).tolist() == np.argsort(SLOT).tolist()
    assert sum(rates) == pytest.approx(1)


def test_the_predictors_own_role_may_read_what_it_needs(database: Connection) -> None:
    store(database, season(1, 3, seed=2))
    database.execute("SET ROLE headrace_predictor")

    assert len(read_season(database, "trifecta").amounts) == 3
    assert database.execute("SELECT record_id FROM facts.predictions").fetchall() == []
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        database.execute("SELECT FROM facts.events")
