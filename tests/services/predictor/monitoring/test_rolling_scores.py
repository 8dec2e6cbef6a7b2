"""Scores of predictions of recently settled events, and when they raise an alarm."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from services.predictor.model.active import ActiveModel
from services.predictor.monitoring.rolling_scores import MIN_EVENTS, RollingScores, Score
from services.predictor.monitoring.scoring import Scoring, SettledPrediction
from tests.services.predictor.serving.small_serving_model import SmallDescription, SmallModel

VERSION = "20300301-00000001"


def score(p: float = 0.5, base: float = 0.25, winner: int = 0, cluster: str = "s") -> Score:
    return Score((p, 1 - p), winner, base, cluster)


def active_model(version: str = VERSION, last_day: str = "2030-03-01", *, shadow: bool = False) -> ActiveModel:
    description = SmallDescription(None, last_day, {})  # type: ignore[arg-type]  # scoring reads no features
    return ActiveModel(SmallModel(version, description), shadow)


class StoredPredictions:
    """Predictions as the tables return them."""

    def __init__(self, rows: Sequence[SettledPrediction] = ()) -> None:
        self.rows = list(rows)
        self.requested: list[tuple[str, ...]] = []

    def settled_predictions(self, event_keys: Sequence[str]) -> list[SettledPrediction]:
        return [each for each in self.rows if each.event_key in event_keys]

    def recent_settled_predictions(self, models: Sequence[str]) -> list[SettledPrediction]:
        self.requested.append(tuple(models))
        return [each for each in self.rows if each.model_version in models]

    def wins(self, before: Sequence[str]) -> Mapping[int, int]:
        return {1: 599, 2: 399}


def settled_prediction(
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

    summaries = {(each.model, each.state): each for each in scores.summaries()}

    assert {key: each.events for key, each in summaries.items()} == {
        ("m", "card"): 2,
        ("m", "observation"): 1,
        ("n", "card"): 1,
    }
    assert summaries["m", "card"].log_loss == pytest.approx(1.5 * math.log(2))
    assert summaries["m", "observation"].log_loss == pytest.approx(math.log(2))
    assert summaries["n", "card"].log_loss == pytest.approx(3 * math.log(2))


def test_a_corrected_result_replaces_its_score() -> None:
    scores = RollingScores()
    scores.add("m", "card", "a", score(0.5))
    scores.add("m", "card", "a", score(0.5, winner=1, base=0.125))

    (summary,) = scores.summaries()
    assert summary.events == 1
    assert summary.base_log_loss == pytest.approx(3 * math.log(2))


def test_old_scores_and_old_models_are_dropped() -> None:
    scores = RollingScores(window=2)
    for number in range(5):
        scores.add("m", "card", f"e{number}", score(0.5 if number > 2 else 0.01))
    (summary,) = scores.summaries()
    for number in range(20):
        scores.add(f"m{number}", "card", "e", score())

    assert summary.events == 2
    assert summary.log_loss == pytest.approx(math.log(2))
    assert [each.model for each in scores.summaries()] == [f"m{number}" for number in range(12, 20)]


def test_without_scores_there_are_no_summaries() -> None:
    assert RollingScores().summaries() == []


def test_calibration_and_alarm_wait_for_enough_events() -> None:
    scores = RollingScores()
    for number in range(MIN_EVENTS - 1):
        scores.add("m", "card", f"e{number}", score(0.01, cluster=f"s{number}"))
    (too_few,) = scores.summaries()
    scores.add("m", "card", "another", score(0.01, cluster="another"))
    (enough,) = scores.summaries()

    assert (too_few.ece_all, too_few.behind, too_few.is_behind) == (None, None, False)
    assert enough.is_behind
    assert enough.ece_top == pytest.approx(0.99)


def test_only_a_model_worse_than_the_base_rate_raises_an_alarm() -> None:
    random = np.random.default_rng(3)
    won = random.random(400) < 0.6
    fair = [settled_prediction(number, 0.6, 1 if first else 2) for number, first in enumerate(won)]
    blind = [settled_prediction(number, 0.05, 1 if first else 2) for number, first in enumerate(won)]

    good, bad = Scoring(StoredPredictions(fair)), Scoring(StoredPredictions(blind))
    good.score([], [active_model()])
    bad.score([], [active_model()])

    assert good.problems(VERSION) == []
    (problem,) = bad.problems(VERSION)
    assert problem.startswith(f"model {VERSION} is behind the base rate from the card: log-loss ")
    assert bad.problems("20300301-00000002") == []


def test_scores_are_read_once_after_a_start_and_for_a_new_model() -> None:
    other = "20300301-00000002"
    stored = StoredPredictions([settled_prediction(1, 0.6, 1), settled_prediction(2, 0.6, 1, other)])
    scoring = Scoring(stored)

    scoring.score([], [active_model()])
    scoring.score([], [active_model()])
    scoring.score([], [active_model(), active_model(other, shadow=True)])

    assert stored.requested == [(VERSION,), (other,)]
    assert [(each.model, each.events) for each in scoring.summaries()] == [(VERSION, 1), (other, 1)]


def test_a_settled_event_is_scored_against_the_base_rate() -> None:
    stored = StoredPredictions()
    scoring = Scoring(stored)
    scoring.score([], [active_model()])
    stored.rows = [settled_prediction(7, 0.7, 2)]

    scoring.score([stored.rows[0].event_key], [active_model()])

    (summary,) = scoring.summaries()
    assert summary.log_loss == pytest.approx(-math.log(0.3))
    assert summary.base_log_loss == pytest.approx(-math.log(0.4))


def test_training_days_of_a_model_are_not_scored() -> None:
    stored = StoredPredictions(
        [settled_prediction(1, 0.9, 1, day="2030-03-01"), settled_prediction(2, 0.9, 1, day="2030-03-02")]
    )
    scoring = Scoring(stored)

    scoring.score([], [active_model()])

    assert [each.events for each in scoring.summaries()] == [1]
