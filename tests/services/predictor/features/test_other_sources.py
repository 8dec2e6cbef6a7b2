"""The same features work for sources that differ much from the boat race source."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from services.predictor.data.events import STATES, Events, Floats, State
from services.predictor.data.profile import Profile
from services.predictor.features.encoding import Encoding
from services.predictor.features.history import History
from services.predictor.features.inputs import inputs_of
from tests.services.predictor.features.irregular_source import DUEL, TRIO, arrays, matches
from tests.services.predictor.features.reading import encoding_of, hashes, history_of

COUNT = 1200


@dataclass(frozen=True)
class Dataset:
    """Two or three entries an event; no equipment, no observation, all slots equally good."""

    profile: Profile
    events: Events
    strength: Floats
    history: History
    encoding: Encoding


@pytest.fixture(scope="module", params=[DUEL, TRIO], ids=lambda profile: profile.name)
def dataset(request: pytest.FixtureRequest) -> Dataset:
    profile: Profile = request.param
    facts, strength = matches(COUNT, profile.slots, seed=3, profile=profile)
    events = arrays(facts, profile)
    history = history_of(events, profile)
    return Dataset(profile, events, strength, history, encoding_of(events, history))


@pytest.mark.parametrize("state", STATES)
def test_every_feature_is_a_number(dataset: Dataset, state: State) -> None:
    inputs = inputs_of(dataset.events, dataset.history, dataset.encoding, state)

    assert inputs.entry.shape[:2] == (COUNT, dataset.profile.slots)
    assert np.isfinite(inputs.entry).all()
    assert np.isfinite(inputs.event).all()
    assert np.isfinite(inputs.starts).all()


def test_the_ratings_find_the_stronger_entries(dataset: Dataset) -> None:
    inputs = inputs_of(dataset.events, dataset.history, dataset.encoding, "card")
    at = dataset.encoding.entry_features.index("log_chance")
    late = slice(COUNT // 2, None)

    names = dataset.events.entity[late]
    truth = np.vectorize(lambda name: dataset.strength[int(name.split(":")[1])])(names)
    winner = dataset.events.winner[late]
    by_rating, by_truth, by_slot = (
        float((guess.argmax(axis=1) == winner).mean())
        for guess in (inputs.entry[late, :, at], truth, np.zeros(truth.shape))
    )
    assert by_rating > by_truth - 0.05
    assert by_truth - 0.05 > by_slot + 0.2


def test_absent_measures_make_no_features(dataset: Dataset) -> None:
    features = dataset.encoding.entry_features

    assert dataset.encoding.names.measures == ("belt",)
    assert dataset.encoding.names.observed == ()
    assert [name for name in features if name.startswith("slot=")] == [
        f"slot={slot}" for slot in range(1, dataset.profile.slots + 1)
    ]


def test_the_order_of_folds_does_not_matter(dataset: Dataset) -> None:
    history = History(dataset.profile)
    for rows in np.array_split(np.random.default_rng(2).permutation(COUNT), 5):
        history.fold(dataset.events[rows])

    assert hashes(dataset.events, history, dataset.encoding, "card") == hashes(
        dataset.events, dataset.history, dataset.encoding, "card"
    )
