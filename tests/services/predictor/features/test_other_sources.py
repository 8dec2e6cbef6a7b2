"""The same core reads sources that have little in common with the one it was made for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from services.predictor.data.events import STATES, Events, Floats, State
from services.predictor.data.profile import Profile
from services.predictor.features.encoding import Encoding
from services.predictor.features.history import History
from services.predictor.features.inputs import inputs_of
from tests.services.predictor.features.pond import DUEL, TRIO, arrays, matches
from tests.services.predictor.features.reading import fitted, folded, hashes

COUNT = 1200


@dataclass(frozen=True)
class Watched:
    """Two or three entries an event; no equipment, no observation, no slot that is better than another."""

    profile: Profile
    events: Events
    strength: Floats
    history: History
    encoding: Encoding


@pytest.fixture(scope="module", params=[DUEL, TRIO], ids=lambda profile: profile.name)
def watched(request: pytest.FixtureRequest) -> Watched:
    profile: Profile = request.param
    found, strength = matches(COUNT, profile.slots, seed=3, profile=profile)
    events = arrays(found, profile)
    history = folded(events, profile)
    return Watched(profile, events, strength, history, fitted(events, history))


@pytest.mark.parametrize("state", STATES)
def test_every_feature_is_a_number(watched: Watched, state: State) -> None:
    inputs = inputs_of(watched.events, watched.history, watched.encoding, state)

    assert inputs.entry.shape[:2] == (COUNT, watched.profile.slots)
    assert np.isfinite(inputs.entry).all()
    assert np.isfinite(inputs.event).all()
    assert np.isfinite(inputs.starts).all()


def test_the_ratings_find_the_stronger(watched: Watched) -> None:
    inputs = inputs_of(watched.events, watched.history, watched.encoding, "card")
    at = watched.encoding.entry_features.index("log_chance")
    late = slice(COUNT // 2, None)

    names = watched.events.entity[late]
    truth = np.vectorize(lambda name: watched.strength[int(name.split(":")[1])])(names)
    winner = watched.events.winner[late]
    told, knowing, blind = (
        float((guess.argmax(axis=1) == winner).mean())
        for guess in (inputs.entry[late, :, at], truth, np.zeros(truth.shape))
    )
    assert told > knowing - 0.05
    assert knowing - 0.05 > blind + 0.2


def test_there_is_nothing_of_what_the_source_does_not_have(watched: Watched) -> None:
    features = watched.encoding.entry_features

    assert watched.encoding.names.measures == ("belt",)
    assert watched.encoding.names.observed == ()
    assert [name for name in features if name.startswith("slot=")] == [
        f"slot={slot}" for slot in range(1, watched.profile.slots + 1)
    ]


def test_it_is_learned_from_piece_by_piece_as_well(watched: Watched) -> None:
    history = History(watched.profile)
    for rows in np.array_split(np.random.default_rng(2).permutation(COUNT), 5):
        history.fold(watched.events[rows])

    assert hashes(watched.events, history, watched.encoding, "card") == hashes(
        watched.events, watched.history, watched.encoding, "card"
    )
