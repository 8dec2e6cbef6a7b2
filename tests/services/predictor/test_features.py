"""Features see only what was known, and are the same bits in training and in serving."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import psycopg
import pytest

from services.predictor.encoding import encoding_of, names_of
from services.predictor.facts import STATES, State
from services.predictor.features import features_of, values_of
from services.predictor.postgres_facts import Connection, read_cards, read_season
from tests.services.predictor.conftest import Schooled, Stored
from tests.services.predictor.season import Event, season, store


@pytest.fixture
def loaded(database: Connection) -> Connection:
    store(database, season(6, 12, seed=11, entities=20))
    return database


def keys_of(connection: Connection) -> list[str]:
    return [row[0] for row in connection.execute("SELECT event_key FROM analytics.events ORDER BY scheduled_at, 1")]


@pytest.mark.parametrize("state", STATES)
def test_training_and_serving_see_the_same_bits(stored_season: Stored, schooled: Schooled, state: State) -> None:
    model = schooled.registry.live()
    assert model is not None
    newest = stored_season.events[-40:]
    wanted = [event.key for event in sorted(newest, key=lambda event: (event.scheduled_at, event.key))]

    with psycopg.connect(stored_season.url, autocommit=True) as connection:
        trained = read_season(connection, "trifecta").cards
        together = read_cards(connection, wanted)
        alone = [read_cards(connection, [key]) for key in wanted]

    expected = features_of(trained, model.description.encoding, state)
    rows = [trained.events["event_key"].tolist().index(key) for key in wanted]
    assert features_of(together, model.description.encoding, state).hashes() == expected[np.array(rows)].hashes()
    assert [features_of(one, model.description.encoding, state).hashes()[0] for one in alone] == expected[
        np.array(rows)
    ].hashes()
    assert np.isfinite(expected.entry).all()
    assert np.isfinite(expected.event).all()


@pytest.mark.parametrize("state", STATES)
def test_the_future_changes_no_bit(loaded: Connection, state: State) -> None:
    keys = keys_of(loaded)
    past, moment = keys[:40], season(6, 12, seed=11, entities=20)[39].scheduled_at
    names = names_of(read_season(loaded, "trifecta"))
    raw = values_of(read_cards(loaded, keys), names, state)
    encoding = encoding_of(names, raw.entry, raw.event)
    before = features_of(read_cards(loaded, past), encoding, state).hashes()

    perturb(loaded, moment.isoformat())

    assert features_of(read_cards(loaded, past), encoding, state).hashes() == before
    with_future = read_season(loaded, "trifecta").cards
    assert features_of(with_future, encoding, state).hashes()[: len(past)] == before
    changed = features_of(read_cards(loaded, keys[-5:]), encoding, state)
    assert not np.array_equal(changed.entry, features_of(read_cards(loaded, keys[:5]), encoding, state).entry)


def perturb(connection: Connection, moment: str) -> None:
    """Turn everything over that became known after this instant: results, cards and observations."""
    after = "WHERE event_id IN (SELECT id FROM facts.events WHERE {0} > %(moment)s)"
    outcomes, entries, observations = (after.format(name) for name in ("settled_at", "listed_at", "observed_at"))
    changes = {
        f"UPDATE facts.outcomes SET place = 7 - place, start_timing_s = 9, course = 7 - course {outcomes}",
        f"UPDATE facts.entries SET measures = '{{\"rating\": 99}}' {entries}",
        f"UPDATE facts.observations SET measures = '{{}}' {observations}",
    }
    for statement in changes:
        connection.execute(statement, {"moment": moment})
    connection.execute("UPDATE facts.events SET conditions = '{\"wind_m_s\": 40}', technique = 3")


def test_a_card_is_blind_to_the_observation(loaded: Connection) -> None:
    keys = keys_of(loaded)[-12:]
    names = names_of(read_season(loaded, "trifecta"))
    raw = values_of(read_cards(loaded, keys), names, "observation")
    encoding = encoding_of(names, raw.entry, raw.event)
    card, seen = (features_of(read_cards(loaded, keys), encoding, state) for state in STATES)

    loaded.execute("UPDATE facts.observations SET measures = '{\"lap_s\": 9}', course = 7 - course")
    loaded.execute("UPDATE facts.events SET observed_conditions = '{\"wind_m_s\": 30}'")

    assert features_of(read_cards(loaded, keys), encoding, "card").hashes() == card.hashes()
    assert features_of(read_cards(loaded, keys), encoding, "observation").hashes() != seen.hashes()


def test_what_a_recorded_card_holds_late_is_not_read_from_it(loaded: Connection) -> None:
    names = names_of(read_season(loaded, "trifecta"))

    assert "rating" in names.measures
    assert "weight_kg" not in names.measures


def test_classes_become_columns_and_identities_do_not(loaded: Connection) -> None:
    names = names_of(read_season(loaded, "trifecta"))

    assert names.categories["class"] == ("1", "2")
    assert set(names.categories) == {"class", "motor_number"}  # six motors here: few enough to be a class


def test_unknown_is_a_flag_of_its_own_and_not_a_zero(loaded: Connection) -> None:
    keys = keys_of(loaded)[-1:]
    names = names_of(read_season(loaded, "trifecta"))
    raw = values_of(read_cards(loaded, keys_of(loaded)), names, "observation")
    encoding = encoding_of(names, raw.entry, raw.event)
    loaded.execute("UPDATE facts.entries SET measures = '{}' WHERE slot = 3")

    features = features_of(read_cards(loaded, keys), encoding, "card")

    flag = encoding.entry_features.index("rating_unknown")
    assert features.entry[0, :, flag].tolist() == [0, 0, 1, 0, 0, 0]
    assert features.entry[0, 2, encoding.entry_features.index("rating")] == 0.0


def without_the_last(event: Event) -> Event:
    order = tuple(slot for slot in event.order if slot < 6)
    return replace(event, entities=event.entities[:5], rating=event.rating[:5], lap_s=event.lap_s[:5], order=order)


def test_an_empty_slot_is_masked(database: Connection) -> None:
    five = [without_the_last(event) for event in season(1, 2, seed=1)]
    store(database, [*five, *season(3, 4, seed=2)[4:]])
    names = names_of(read_season(database, "trifecta"))
    cards = read_cards(database, keys_of(database))
    raw = values_of(cards, names, "card")

    features = features_of(cards, encoding_of(names, raw.entry, raw.event), "card")

    assert features.taken.sum(axis=1).tolist() == [5, 5, *[6] * 8]
    assert not features.entry[0, 5].any()


def test_history_known_between_card_and_observation_is_seen_by_the_observation_only(database: Connection) -> None:
    first, second = season(1, 2, seed=4, entities=6)
    listed_at = first.scheduled_at - timedelta(hours=1)
    later = replace(second, listed_at=listed_at, scheduled_at=first.scheduled_at + timedelta(hours=1), order=())
    store(database, [replace(first, listed_at=listed_at), later])
    names = names_of(read_season(database, "trifecta"))
    cards = read_cards(database, [later.key])

    card, seen = (values_of(cards, names, state).entry[0, 0, names.entry_values.index("starts")] for state in STATES)

    assert (card, seen) == (0.0, np.log1p(1))
