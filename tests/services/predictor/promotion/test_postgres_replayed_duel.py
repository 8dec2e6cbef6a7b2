"""Which models can be replayed against each other."""

from __future__ import annotations

import pytest

from services.predictor.data.profile import BOATRACE
from services.predictor.promotion.postgres_replayed_duel import shared_profile
from shared.errors import ConfigError


def test_models_of_the_same_profile_are_compared() -> None:
    assert shared_profile(BOATRACE.name, BOATRACE.name) == BOATRACE


@pytest.mark.parametrize(("candidate", "live"), [(BOATRACE.name, "another"), ("another", "another")])
def test_models_of_other_profiles_are_refused(candidate: str, live: str) -> None:
    with pytest.raises(ConfigError, match=f"a model of {candidate} cannot be compared with one of {live}"):
        shared_profile(candidate, live)
