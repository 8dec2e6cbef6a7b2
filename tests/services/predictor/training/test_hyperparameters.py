"""The size of an ensemble, by the number of training events."""

from __future__ import annotations

from services.predictor.training.hyperparameters import FULL, FULL_ENSEMBLE_EVENTS, SHORT, ensemble_config_for


def test_a_long_season_has_more_and_larger_members() -> None:
    assert ensemble_config_for(FULL_ENSEMBLE_EVENTS) is FULL
    assert ensemble_config_for(FULL_ENSEMBLE_EVENTS - 1) is SHORT
    assert (FULL.networks, FULL.width) > (SHORT.networks, SHORT.width)
    assert FULL.observation_trees > SHORT.observation_trees
