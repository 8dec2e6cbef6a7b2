"""How predictions did on what settled lately, and when that is an alarm."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from services.predictor.model.active import ActiveModel
from services.predictor.monitoring.rolling_scores import MIN_EVENTS, RollingScores, Score
from services.predictor.monitoring.scoring import Scoring, SettledPrediction
from tests.services.predictor.serving.serving import SmallDescription, SmallModel

VERSION = "20300301-00000001"


def score(p: float = 0.5, base: float = 0.25, winner: int = 0, cluster: str = "s") -> Score:
    return Score((p, 1 - p), winner, base, cluster)


def serving(version: str = VERSION, last_day: str = "2030-03-01", *, shadow: bool = False) -> ActiveModel:
    description = SmallDescription(None, last_day, {})  # type: ignore[arg-type]  # scoring reads no features
    return ActiveModel(SmallModel(version, description), shadow)


class Stored:
    """Predictions in tables."""

    def __init__(self, found: Sequence[SettledPrediction] = ()) -> None:
        self.found = list(found)
        self.asked: list[tuple[str, ...]] = []

    def settled_predictions(self, event_keys: Sequence[str]) -> list[SettledPrediction]:
        return [each for each in self.found if each.event_key in event_keys]

    def recent_settled_predictions(self, models: Sequence[str]) -> list[SettledPrediction]:
        self.asked.append(tuple(models))
        return [each for each in self.found if each.model_version in models]

    def wins(self, before: Sequence[str]) -> Mapping[int, int]:
        return {1: 599, 2: 399}


def said(
    number: int, p_first: float, winner: int, version: str = VERSION, day: str = "2030-03-02"
) -> SettledPrediction:
    session = f"made-up:{day}:{number % 40:02d}"
    return SettledPrediction(f"{session}:{number:04d}", session, "card", version, {1: p_first, 2: 1 - p_first}, winner)


def test_models_and_states_are_kept_apart() -> None:
    scores = RollingScores()
    scores.add("m", "card", "a", score(0.5))
    scores.add("m", "card", "b", score(0.25))
    scores.add("m", "observation", "a", score(0.5))
    scores.add("n", "card", "a", score(0.125))

    found = {(each.model, each.state): each for each in scores.summaries()}

    assert {key: each.events for key, each in found.items()} == {
        ("m", "card"): 2,
        ("m", "observation"): 1,
        ("n", "card"): 1,
    }
    assert found["m", "card"].log_loss == pytest.approx(1.5 * math.log(2))
    assert found["m", "observation"].log_loss == pytest.approx(math.log(2))
    assert found["n", "card"].log_loss == pytest.approx(3 * math.log(2))


def test_a_corrected_result_replaces_its_score() -> None:
    scores = RollingScores()
    scores.add("m", "card", "a", score(0.5))
    scores.add("m", "card", "a", score(0.5, winner=1, base=0.125))

    (found,) = scores.summaries()
    assert found.events == 1
    assert found.base_log_loss == pytest.approx(3 * math.log(2))


def test_old_scores_and_old_models_make_room() -> None:
    scores = RollingScores(window=2)
    for number in range(5):
        scores.add("m", "card", f"e{number}", score(0.5 if number > 2 else 0.01))
    (found,) = scores.summaries()
    for number in range(20):
        scores.add(f"m{number}", "card", "e", score())

    assert found.events == 2
    assert found.log_loss == pytest.approx(math.log(2))
    assert [each.model for each in scores.summaries()] == [f"m{number}" for number in range(12, 20)]


def test_nothing_scored_is_nothing_said() -> None:
    assert RollingScores().summaries() == []


def test_calibration_and_alarm_wait_for_enough_events() -> None:
    scores = RollingScores()
    for number in range(MIN_EVENTS - 1):
        scores.add("m", "card", f"e{number}", score(0.01, cluster=f"s{number}"))
    (few,) = scores.summaries()
    scores.add("m", "card", "another", score(0.01, cluster="another"))
    (enough,) = scores.summaries()

    assert (few.ece_all, few.behind, few.is_behind) == (None, None, False)
    assert enough.is_behind
    assert enough.ece_top == pytest.approx(0.99)


def test_a_model_as_good_as_the_base_rate_is_no_alarm_and_a_worse_one_is() -> None:
    random = np.random.default_rng(3)
    won = random.random(400) < 0.6
    fair = [said(number, 0.6, 1 if first else 2) for number, first in enumerate(won)]
    blind = [said(number, 0.05, 1 if first else 2) for number, first in enumerate(won)]

    good, bad = Scoring(Stored(fair)), Scoring(Stored(blind))
    good.score([], [serving()])
    bad.score([], [serving()])

    assert good.problems(VERSION) == []
    (trouble,) = bad.problems(VERSION)
    assert trouble.startswith(f"model {VERSION} is behind the base rate from the card: log-loss ")
    assert bad.problems("20300301-00000002") == []


def test_scores_are_read_again_after_a_start_and_for_a_model_that_is_new() -> None:
    other = "20300301-00000002"
    stored = Stored([said(1, 0.6, 1), said(2, 0.6, 1, other)])
    scoring = Scoring(stored)

    scoring.score([], [serving()])
    scoring.score([], [serving()])
    scoring.score([], [serving(), serving(other, shadow=True)])

    assert stored.asked == [(VERSION,), (other,)]
    assert [(each.model, each.events) for each in scoring.summaries()] == [(VERSION, 1), (other, 1)]


def test_a_settled_event_is_scored_against_the_base_rate() -> None:
    stored = Stored()
    scoring = Scoring(stored)
    scoring.score([], [serving()])
    stored.found = [said(7, 0.7, 2)]

    scoring.score([stored.found[0].event_key], [serving()])

    (found,) = scoring.summaries()
    assert found.log_loss == pytest.approx(-math.log(0.3))
    assert found.base_log_loss == pytest.approx(-math.log(0.4))


def test_days_that_a_model_learned_from_are_not_scored() -> None:
    stored = Stored([said(1, 0.9, 1, day="2030-03-01"), said(2, 0.9, 1, day="2030-03-02")])
    scoring = Scoring(stored)

    scoring.score([], [serving()])

    assert [each.events for each in scoring.summaries()] == [1]
