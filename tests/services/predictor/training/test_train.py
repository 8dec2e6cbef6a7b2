"""Training on made-up seasons: what it learns, what it learns from, and that it learns it every time."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from services.predictor.data.events import STATES, EventFacts
from services.predictor.data.instants import day_of
from services.predictor.data.profile import Profile
from services.predictor.data.split import split_of
from services.predictor.features.history import History
from services.predictor.features.inputs import inputs_of
from services.predictor.model.ensemble import EnsembleDescription
from services.predictor.model.weights import ensemble_of
from services.predictor.training.dataset import training_set_of
from services.predictor.training.request import TrainingContext
from services.predictor.training.train import train
from tests.services.predictor.features.pond import DAY_US, DUEL, POND, TRIO, arrays, matches
from tests.services.predictor.tiny import (
    CUT,
    FIRST,
    LAST,
    POLICY,
    TINY,
    VALIDATE_DAYS,
    bits,
    made,
    pond,
    silent,
    trained,
)

pytestmark = pytest.mark.slow


def seasons(profile: Profile) -> list[EventFacts]:
    return matches(400, profile.slots, seed=3, profile=profile)[0]


def test_it_says_what_it_learned_from() -> None:
    description, events = made().model.description, arrays(pond())
    settled = (events.status == "settled") & (events.occupied.sum(axis=1) > 1)

    assert (description.profile, description.seed) == ("pond", 1)
    assert (description.first_day, description.last_day) == (str(day_of(FIRST)), str(day_of(CUT)))
    assert (description.validation_first, description.validation_last) == (str(day_of(CUT + 1)), str(day_of(LAST)))
    assert description.events == (settled & (events.day <= CUT)).sum()
    judged = events.has_winner & settled & (events.day > CUT)
    assert description.metrics["validation_events"] == judged.sum() == len(made().validation["card"].events)
    assert len(made().validation["observation"].events) == (judged & np.isfinite(events.observed_us)).sum()
    assert [(each.kind, each.state) for each in description.members] == [
        ("network", None),
        ("trees", "observation"),
        ("trees", "card"),
        ("top3_trees", "card"),
        ("top3_trees", "observation"),
    ]
    assert all(0 < each.log_loss < 2 for each in description.members)
    assert set(made().curves) == {
        "network 1",
        "trees observation 1",
        "trees card 1",
        "top3_trees card 1",
        "top3_trees observation 1",
    }


def test_how_far_it_is_is_told_in_order_and_another_seed_is_another_model() -> None:
    parts: list[float] = []
    said: list[str] = []
    events = arrays(pond())
    ground = training_set_of(events, POND, split_of(events, VALIDATE_DAYS))
    other = train(ground, 2, TrainingContext(said.append, parts.append), TINY)

    assert bits(other) != bits(made())
    assert parts == sorted(parts)
    assert parts[-1] == 1.0
    assert len(set(parts)) > 5
    assert any("log-loss" in line and "base rate" in line for line in said)


def test_days_after_the_last_to_validate_on_change_nothing() -> None:
    found = pond()
    later = [
        each._replace(
            event_key=f"{each.event_key}+",
            day=each.day + 20,
            listed_us=(each.listed_us or 0) + 20 * DAY_US,
            settled_us=(each.settled_us or 0) + 20 * DAY_US,
        )
        for each in found
    ]
    events = arrays([*found, *later])

    ground = training_set_of(events, POND, split_of(arrays(found), VALIDATE_DAYS))
    other = train(ground, 1, TrainingContext(silent), TINY)

    assert bits(other) == bits(made())
    assert other.model.description == made().model.description


def test_without_history_nobody_is_known() -> None:
    """Entities that change places within their events have other histories and the same cards."""
    rng = np.random.default_rng(5)
    found = pond()
    shuffled = [
        event._replace(
            entries=[
                entry._replace(entity=event.entries[other].entity)
                for entry, other in zip(event.entries, rng.permutation(len(event.entries)), strict=True)
            ]
        )
        for event in found
    ]

    one, other = (trained(each, without=("history",)) for each in (found, shuffled))

    assert bits(one) == bits(other)
    assert one.model.description.metrics == other.model.description.metrics
    assert bits(trained(shuffled)) != bits(made())
    assert one.model.description.metrics != made().model.description.metrics


@pytest.mark.parametrize("profile", [DUEL, TRIO], ids=lambda each: each.name)
def test_a_source_of_another_shape_is_learned_as_well(profile: Profile) -> None:
    """Two or three entries, no equipment, no observation, nothing on the card that tells: only history does."""
    model = trained(seasons(profile), profile).model
    description = model.description

    assert description.metrics["card_result"] < description.metrics["card_result_base"] - 0.12
    assert not any(name.startswith("observation") for name in description.metrics)
    assert np.isfinite(list(description.metrics.values())).all()
    again = ensemble_of("v", EnsembleDescription.model_validate_json(description.model_dump_json()), model.tensors())
    events = arrays(seasons(profile), profile)
    history = History(profile)
    history.fold(events)
    for state in STATES:
        told = again.probabilities(inputs_of(events[-20:], history, description.encoding, state))
        assert told.win.shape == (20, profile.slots)
        np.testing.assert_allclose(told.win.sum(axis=1), 1)


def test_a_source_without_observations_has_a_policy_where_winners_are_paid() -> None:
    paid = [
        event._replace(entries=[each._replace(win_amount=190.0 if each.place == 1 else None) for each in event.entries])
        for event in seasons(DUEL)
    ]

    found = trained(paid, DUEL, training=replace(TINY, policy=POLICY, policy_members=1))

    assert found.model.policy is not None
    assert len(found.policy_curves) == 1
    assert made().model.policy is None


def test_the_same_seed_and_history_give_the_same_model(tmp_path: Path) -> None:
    """From other processes, whatever their hashes and however many work side by side: a version is a hash of all."""

    def version(workers: int) -> str:
        place = tmp_path / str(workers)
        command = (sys.executable, "-m", "tests.services.predictor.training_process", "version", place, str(workers))
        seeded = os.environ | {"PYTHONHASHSEED": str(workers)}
        return subprocess.run(command, env=seeded, check=True, capture_output=True, text=True, timeout=600).stdout

    assert version(1) == version(2) != ""
