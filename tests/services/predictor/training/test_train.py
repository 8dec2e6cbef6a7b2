"""Training on made-up seasons: what it learns, what it learns from, and what it refuses."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from services.predictor.data.events import STATES, EventFacts
from services.predictor.data.profile import Profile
from services.predictor.data.split import Split, split_of
from services.predictor.features.history import History
from services.predictor.features.inputs import inputs_of
from services.predictor.model.ensemble import Description, trained_of
from services.predictor.registry.gate import judge_alone
from services.predictor.training.dataset import LEAST_EVENTS, ground_of
from services.predictor.training.request import TrainingContext
from services.predictor.training.train import Made, train
from shared.errors import ConfigError
from tests.services.predictor.features.pond import DAY_US, DUEL, POND, TRIO, arrays, event, matches, raced
from tests.services.predictor.tiny import POLICY, TINY, VALIDATE_DAYS, bits, pond, silent, trained

FIRST = 25_000
LAST = FIRST + 10
CUT = LAST - VALIDATE_DAYS


def day(number: int) -> str:
    return str(date(1970, 1, 1) + timedelta(days=number))


@cache
def made() -> Made:
    return trained(pond())


def seasons(profile: Profile) -> list[EventFacts]:
    return matches(400, profile.slots, seed=3, profile=profile)[0]


def changed(found: Sequence[EventFacts], seed: int = 4) -> list[EventFacts]:
    """Other cards, observations, amounts and timings on the days that validate."""
    rng = np.random.default_rng(seed)
    return [
        event if event.day <= CUT else event._replace(
            venue=9, amount=float(rng.integers(1, 9)), grade=7.0, distance_m=3000.0,
            entries=[
                entry._replace(
                    measures={"points": 50 + rng.normal(), "new": 1.0}, categories={"class": "Z"}, timing_s=9.0,
                    observed={"lap_s": 60 + rng.normal(), "depth": 2.0},
                )
                for entry in event.entries
            ],
        )
        for event in found
    ]  # fmt: skip


def test_it_beats_the_base_rate_on_days_it_has_not_seen() -> None:
    metrics = made().model.description.metrics

    for state in STATES:
        assert metrics[f"{state}_result"] < metrics[f"{state}_result_base"] - 0.15
        assert metrics[f"{state}_top3"] < metrics[f"{state}_top3_base"] - 0.03
        assert metrics[f"{state}_trend"] < metrics[f"{state}_trend_base"] + 0.02
        assert metrics[f"{state}_behaviour"] < metrics[f"{state}_behaviour_base"] + 0.02
        assert metrics[f"{state}_top1"] > 0.3
    assert np.isfinite(list(metrics.values())).all()


def test_the_gate_finds_the_figures_it_judges_a_first_model_by() -> None:
    assert judge_alone("v", made().model.description.metrics).passed
    bad = made().model.description.metrics | {"observation_result": 9.0, "card_result": 9.0}
    assert not judge_alone("v", bad).passed


def test_it_says_what_it_learned_from() -> None:
    description, events = made().model.description, arrays(pond())
    settled = (events.status == "settled") & (events.taken.sum(axis=1) > 1)

    assert (description.profile, description.seed) == ("pond", 1)
    assert (description.first_day, description.last_day) == (day(FIRST), day(CUT))
    assert (description.validation_first, description.validation_last) == (day(CUT + 1), day(LAST))
    assert description.events == (settled & (events.day <= CUT)).sum()
    judged = events.has_winner & settled & (events.day > CUT)
    assert description.metrics["validation_events"] == judged.sum() == len(made().validation["card"].events)
    assert len(made().validation["observation"].events) == (judged & np.isfinite(events.observed_us)).sum()
    assert [(each.kind, each.state) for each in description.members] == [
        ("network", None), ("trees", "observation"), ("trees", "card"), ("top3_trees", "card"),
        ("top3_trees", "observation"),
    ]  # fmt: skip
    assert all(0 < each.log_loss < 2 for each in description.members)
    assert set(made().curves) == {
        "network 1", "trees observation 1", "trees card 1", "top3_trees card 1", "top3_trees observation 1",
    }  # fmt: skip


def test_how_far_it_is_is_told_in_order_and_another_seed_is_another_model() -> None:
    parts: list[float] = []
    said: list[str] = []
    events = arrays(pond())
    ground = ground_of(events, POND, split_of(events, VALIDATE_DAYS))
    other = train(ground, 2, TrainingContext(said.append, parts.append), TINY)

    assert bits(other) != bits(made())
    assert parts == sorted(parts)
    assert parts[-1] == 1.0
    assert len(set(parts)) > 5
    assert any("log-loss" in line and "base rate" in line for line in said)


def test_no_number_of_the_encoding_comes_from_days_that_validate() -> None:
    other = trained(changed(pond())).model.description

    found = made().model.description
    assert other.encoding.model_copy(update={"names": found.encoding.names}) == found.encoding
    assert set(other.encoding.names.categories) == set(found.encoding.names.categories)
    for name in ("venues", "codes", "categories"):
        assert getattr(other.encoding.names, name) == getattr(found.encoding.names, name)
    assert (other.terciles, other.win_rate, other.top3_rate) == (found.terciles, found.win_rate, found.top3_rate)
    assert other.drift == found.drift
    assert other.metrics != found.metrics


def test_days_after_the_last_to_validate_on_change_nothing() -> None:
    found = pond()
    later = [
        each._replace(
            event_key=f"{each.event_key}+", day=each.day + 20, listed_us=(each.listed_us or 0) + 20 * DAY_US,
            settled_us=(each.settled_us or 0) + 20 * DAY_US,
        )
        for each in found
    ]  # fmt: skip
    events = arrays([*found, *later])

    ground = ground_of(events, POND, split_of(arrays(found), VALIDATE_DAYS))
    other = train(ground, 1, TrainingContext(silent), TINY)

    assert bits(other) == bits(made())
    assert other.model.description == made().model.description


def test_without_history_nobody_is_known() -> None:
    """Entities that change places within their events have other histories and the same cards."""
    rng = np.random.default_rng(5)
    found = pond()
    shuffled = [
        event._replace(entries=[
            entry._replace(entity=event.entries[other].entity)
            for entry, other in zip(event.entries, rng.permutation(len(event.entries)), strict=True)
        ])
        for event in found
    ]  # fmt: skip

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
    again = trained_of("v", Description.model_validate_json(description.model_dump_json()), model.tensors())
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


def test_a_state_that_training_never_saw_is_told_by_the_networks_alone() -> None:
    """A source that begins to tell observations on the last days."""
    found = [
        event if event.day > CUT else event._replace(
            observed_us=None, entries=[each._replace(observed={}, observed_course=None) for each in event.entries]
        )
        for event in pond()
    ]  # fmt: skip

    model = trained(found).model

    pooling = model.description.pooling
    assert pooling["observation"].trees == 0
    assert pooling["observation"].networks == pooling["card"].networks + pooling["card"].trees
    events = arrays([each for each in found if each.day == LAST])
    inputs = inputs_of(events, History(POND), model.description.encoding, "observation")
    assert (inputs.event[:, -1] == 1).any()
    np.testing.assert_allclose(model.probabilities(inputs).win.sum(axis=1), 1)


def test_the_newest_days_validate_whole() -> None:
    events = arrays(pond())

    assert split_of(events) == Split(date.fromisoformat(day(LAST - 2)), date.fromisoformat(day(LAST)))
    assert split_of(events, 4).train_to == date.fromisoformat(day(LAST - 4))


def test_a_history_of_one_day_or_less_than_there_are_to_validate_on_is_refused() -> None:
    events = arrays(pond())

    with pytest.raises(ConfigError, match="at least two days, found 1"):
        split_of(events[events.day == FIRST])
    with pytest.raises(ConfigError, match="at least two days, found 0"):
        split_of(events[:0])
    with pytest.raises(ConfigError, match="11 days to validate on leave none of 11"):
        split_of(events, 11)


def refused(found: Sequence[EventFacts], train_to: int, validate_to: int) -> str:
    split = Split(*(date.fromisoformat(day(number)) for number in (train_to, validate_to)))
    with pytest.raises(ConfigError) as raised:
        ground_of(arrays(found), POND, split)
    return str(raised.value)


def test_too_little_to_learn_from_or_to_validate_on_is_refused() -> None:
    found = pond()
    settled = [each for each in found if each.status == "settled"]
    no_winner = [each._replace(entries=[e._replace(place=None) for e in each.entries]) for each in settled]

    few = [each for each in settled if each.day <= FIRST + 1]
    winners = int(arrays(few).has_winner.sum())
    assert f"{LEAST_EVENTS} settled events" in refused(found, FIRST + 1, LAST)
    assert f"found {winners} and" in refused(found, FIRST + 1, LAST)
    assert refused(found, CUT, CUT).endswith("and 0")
    assert refused(found, CUT, FIRST + 3).endswith("and 0")
    assert refused([each for each in found if each.day <= CUT] + no_winner[-60:], CUT, LAST).endswith("and 0")
    assert "found 0 and" in refused(no_winner[:250] + found[-60:], CUT, LAST)
    assert "found 0 and 0" in refused([event("a", *raced(1, 2), status="listed")], CUT, LAST)


def test_the_same_seed_and_history_give_the_same_model(tmp_path: Path) -> None:
    """From other processes, whatever their hashes and however many work side by side: a version is a hash of all."""

    def version(workers: int) -> str:
        place = tmp_path / str(workers)
        command = (sys.executable, "-m", "tests.services.predictor.training_process", "version", place, str(workers))
        seeded = os.environ | {"PYTHONHASHSEED": str(workers)}
        return subprocess.run(command, env=seeded, check=True, capture_output=True, text=True, timeout=600).stdout

    assert version(1) == version(2) != ""
