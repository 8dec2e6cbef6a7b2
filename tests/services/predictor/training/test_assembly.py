"""The assembly of members into one model: its metrics, and what must not depend on validation days."""

from __future__ import annotations

import numpy as np

from services.predictor.data.events import STATES
from services.predictor.features.history import History
from services.predictor.features.inputs import inputs_of
from services.predictor.registry.gate import decide_first_promotion
from tests.services.predictor.features.irregular_source import SYNTHETIC, arrays
from tests.services.predictor.quick_trainings import (
    CUT,
    LAST,
    tiny_result,
    tiny_season,
    train_on,
    with_other_validation_days,
)


def test_the_model_beats_the_base_rate_on_unseen_days() -> None:
    metrics = tiny_result().model.description.metrics

    for state in STATES:
        assert metrics[f"{state}_result"] < metrics[f"{state}_result_base"] - 0.15
        assert metrics[f"{state}_top3"] < metrics[f"{state}_top3_base"] - 0.03
        assert metrics[f"{state}_trend"] < metrics[f"{state}_trend_base"] + 0.02
        assert metrics[f"{state}_behaviour"] < metrics[f"{state}_behaviour_base"] + 0.02
        assert metrics[f"{state}_top1"] > 0.3
    assert np.isfinite(list(metrics.values())).all()


def test_the_metrics_are_those_that_the_gate_of_a_first_model_reads() -> None:
    assert decide_first_promotion("v", tiny_result().model.description.metrics).passed
    bad = tiny_result().model.description.metrics | {"observation_result": 9.0, "card_result": 9.0}
    assert not decide_first_promotion("v", bad).passed


def test_terciles_rates_and_drift_come_from_training_days_alone() -> None:
    other, description = (
        train_on(with_other_validation_days(tiny_season())).model.description,
        tiny_result().model.description,
    )

    assert (other.terciles, other.win_rate, other.top3_rate) == (
        description.terciles,
        description.win_rate,
        description.top3_rate,
    )
    assert other.drift == description.drift
    assert other.metrics != description.metrics


def test_a_state_without_training_events_is_predicted_by_networks_alone() -> None:
    """A source that has observations on the last days only."""
    facts = [
        event
        if event.day > CUT
        else event._replace(
            observed_us=None, entries=[each._replace(observed={}, observed_course=None) for each in event.entries]
        )
        for event in tiny_season()
    ]

    model = train_on(facts).model

    pooling = model.description.pooling
    assert pooling["observation"].trees == 0
    assert pooling["observation"].networks == pooling["card"].networks + pooling["card"].trees
    events = arrays([each for each in facts if each.day == LAST])
    inputs = inputs_of(events, History(SYNTHETIC), model.description.encoding, "observation")
    assert (inputs.event[:, -1] == 1).any()
    np.testing.assert_allclose(model.probabilities(inputs).win.sum(axis=1), 1)
