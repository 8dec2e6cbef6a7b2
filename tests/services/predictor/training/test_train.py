"""Training on synthetic seasons: what it learns, which events it uses, and that it is reproducible."""

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
from tests.services.predictor.features.irregular_source import DAY_US, DUEL, SYNTHETIC, TRIO, arrays, matches
from tests.services.predictor.quick_trainings import (
    CUT,
    FIRST,
    LAST,
    POLICY,
    TINY,
    VALIDATE_DAYS,
    bits,
    discard_log,
    tiny_result,
    tiny_season,
    train_on,
)

pytestmark = pytest.mark.slow


def seasons(profile: Profile) -> list[EventFacts]:
    return matches(400, profile.slots, seed=3, profile=profile)[0]


def test_the_description_says_what_the_model_was_trained_on() -> None:
    description, events = tiny_result().model.description, arrays(tiny_season())
    settled = (events.status == "settled") & (events.occupied.sum(axis=1) > 1)

    assert (description.profile, description.seed) == ("synthetic", 1)
    assert (description.first_day, description.last_day) == (str(day_of(FIRST)), str(day_of(CUT)))
    assert (description.validation_first, description.validation_last) == (str(day_of(CUT + 1)), str(day_of(LAST)))
    assert description.events == (settled & (events.day <= CUT)).sum()
    has_winner = events.has_winner & settled & (events.day > CUT)
    assert description.metrics["validation_events"] == has_winner.sum() == len(tiny_result().validation["card"].events)
    assert len(tiny_result().validation["observation"].events) == (has_winner & np.isfinite(events.observed_us)).sum()
    assert [(each.kind, each.state) for each in description.members] == [
        ("network", None),
        ("trees", "observation"),
        ("trees", "card"),
        ("top3_trees", "card"),
        ("top3_trees", "observation"),
    ]
    assert all(0 < each.log_loss < 2 for each in description.members)
    assert set(tiny_result().curves) == {
        "network 1",
        "trees observation 1",
        "trees card 1",
        "top3_trees card 1",
        "top3_trees observation 1",
    }


def test_progress_increases_and_another_seed_gives_another_model() -> None:
    progress: list[float] = []
    log_lines: list[str] = []
    events = arrays(tiny_season())
    dataset = training_set_of(events, SYNTHETIC, split_of(events, VALIDATE_DAYS))
    other = train(dataset, 2, TrainingContext(log_lines.append, progress.append), TINY)

    assert bits(other) != bits(tiny_result())
    assert progress == sorted(progress)
    assert progress[-1] == 1.0
    assert len(set(progress)) > 5
    assert any("log-loss" in line and "base rate" in line for line in log_lines)


def test_days_after_the_validation_days_change_nothing() -> None:
    facts = tiny_season()
    later = [
        each._replace(
            event_key=f"{each.event_key}+",
            day=each.day + 20,
            listed_us=(each.listed_us or 0) + 20 * DAY_US,
            settled_us=(each.settled_us or 0) + 20 * DAY_US,
        )
        for each in facts
    ]
    events = arrays([*facts, *later])

    dataset = training_set_of(events, SYNTHETIC, split_of(arrays(facts), VALIDATE_DAYS))
    other = train(dataset, 1, TrainingContext(discard_log), TINY)

    assert bits(other) == bits(tiny_result())
    assert other.model.description == tiny_result().model.description


def test_without_history_entities_are_interchangeable() -> None:
    """Entities that change places within their events have other histories and the same cards."""
    rng = np.random.default_rng(5)
    facts = tiny_season()
    shuffled = [
        event._replace(
            entries=[
                entry._replace(entity=event.entries[other].entity)
                for entry, other in zip(event.entries, rng.permutation(len(event.entries)), strict=True)
            ]
        )
        for event in facts
    ]

    one, other = (train_on(each, without=("history",)) for each in (facts, shuffled))

    assert bits(one) == bits(other)
    assert one.model.description.metrics == other.model.description.metrics
    assert bits(train_on(shuffled)) != bits(tiny_result())
    assert one.model.description.metrics != tiny_result().model.description.metrics


@pytest.mark.parametrize("profile", [DUEL, TRIO], ids=lambda each: each.name)
def test_sources_of_other_shapes_are_learned_as_well(profile: Profile) -> None:
    """Two or three entries, no equipment, no observation, an uninformative card: only the history helps."""
    model = train_on(seasons(profile), profile).model
    description = model.description

    assert description.metrics["card_result"] < description.metrics["card_result_base"] - 0.12
    assert not any(name.startswith("observation") for name in description.metrics)
    assert np.isfinite(list(description.metrics.values())).all()
    again = ensemble_of("v", EnsembleDescription.model_validate_json(description.model_dump_json()), model.tensors())
    events = arrays(seasons(profile), profile)
    history = History(profile)
    history.fold(events)
    for state in STATES:
        probabilities = again.probabilities(inputs_of(events[-20:], history, description.encoding, state))
        assert probabilities.win.shape == (20, profile.slots)
        np.testing.assert_allclose(probabilities.win.sum(axis=1), 1)


def test_a_source_without_observations_has_a_policy_where_winners_are_paid() -> None:
    paid = [
        event._replace(entries=[each._replace(win_amount=190.0 if each.place == 1 else None) for each in event.entries])
        for event in seasons(DUEL)
    ]

    result = train_on(paid, DUEL, training=replace(TINY, policy=POLICY, policy_members=1))

    assert result.model.policy is not None
    assert len(result.policy_curves) == 1
    assert tiny_result().model.policy is None


def test_the_same_seed_and_history_give_the_same_model(tmp_path: Path) -> None:
    """In other processes with other hash seeds and numbers of workers. The version is a hash of the whole model."""

    def version(workers: int) -> str:
        directory = tmp_path / str(workers)
        command = (
            sys.executable,
            "-m",
            "tests.services.predictor.training_process",
            "version",
            directory,
            str(workers),
        )
        seeded = os.environ | {"PYTHONHASHSEED": str(workers)}
        return subprocess.run(command, env=seeded, check=True, capture_output=True, text=True, timeout=600).stdout

    assert version(1) == version(2) != ""
