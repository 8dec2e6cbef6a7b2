"""Members as one model: its figures, its members' own losses, and what no validation day may touch."""

from __future__ import annotations

import numpy as np

from services.predictor.data.events import STATES
from services.predictor.features.history import History
from services.predictor.features.inputs import inputs_of
from services.predictor.registry.gate import decide_first_promotion
from tests.services.predictor.features.pond import POND, arrays
from tests.services.predictor.tiny import CUT, LAST, changed, made, pond, trained


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
    assert decide_first_promotion("v", made().model.description.metrics).passed
    bad = made().model.description.metrics | {"observation_result": 9.0, "card_result": 9.0}
    assert not decide_first_promotion("v", bad).passed


def test_terciles_rates_and_drift_come_from_training_days_alone() -> None:
    other, found = trained(changed(pond())).model.description, made().model.description

    assert (other.terciles, other.win_rate, other.top3_rate) == (found.terciles, found.win_rate, found.top3_rate)
    assert other.drift == found.drift
    assert other.metrics != found.metrics


def test_a_state_that_training_never_saw_is_told_by_the_networks_alone() -> None:
    """A source that begins to tell observations on the last days."""
    found = [
        event
        if event.day > CUT
        else event._replace(
            observed_us=None, entries=[each._replace(observed={}, observed_course=None) for each in event.entries]
        )
        for event in pond()
    ]

    model = trained(found).model

    pooling = model.description.pooling
    assert pooling["observation"].trees == 0
    assert pooling["observation"].networks == pooling["card"].networks + pooling["card"].trees
    events = arrays([each for each in found if each.day == LAST])
    inputs = inputs_of(events, History(POND), model.description.encoding, "observation")
    assert (inputs.event[:, -1] == 1).any()
    np.testing.assert_allclose(model.probabilities(inputs).win.sum(axis=1), 1)
