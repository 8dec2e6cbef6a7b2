"""The promotion gate: a significantly better candidate passes, a lucky one does not."""

from __future__ import annotations

import math

import numpy as np
import pytest

from services.predictor.registry.gate import (
    ECE_TOLERANCE,
    MIN_EVENTS,
    PairedForecast,
    PairedScores,
    decide_first_promotion,
    decide_promotion,
    ece,
    paired_scores,
)
from tests.services.predictor.model_requests import BAD, GOOD


def evidence(
    advantage: float, *, events: int = 1000, clusters: int = 80, ece_loss: float = 0.0, shared: float = 0.0
) -> PairedScores:
    """`advantage` in nats an event with noise of .2; `shared`: noise that all events of a cluster have in common."""
    rng = np.random.default_rng(11)
    cluster_of = np.arange(events) % clusters
    live = rng.gamma(2.0, 0.6, events)
    noise = rng.normal(0, 0.2, events) + rng.normal(0, shared, clusters)[cluster_of]
    return PairedScores(
        live - advantage + noise - noise.mean(), live, cluster_of, 0.02 + ece_loss, 0.02, "stored predictions"
    )


def test_a_candidate_that_is_better_with_confidence_passes() -> None:
    verdict = decide_promotion("20310501-aaaaaaaa", "20310401-bbbbbbbb", evidence(0.02))

    assert verdict.passed
    assert verdict.figures["difference"] == pytest.approx(-0.02)
    assert -0.02 < verdict.figures["difference_at_most"] < 0
    for figure in ("1000 settled events of 80 days", "difference -0.0200", "ECE 0.0200 against 0.0200"):
        assert figure in verdict.why


@pytest.mark.parametrize("advantage", [0.001, 0.0, -0.02])
def test_a_candidate_that_is_not_better_with_confidence_does_not_pass(advantage: float) -> None:
    verdict = decide_promotion("20310501-aaaaaaaa", "20310401-bbbbbbbb", evidence(advantage))

    assert (verdict.passed, verdict.decided) == (False, True)
    assert "is not better with confidence" in verdict.why


def test_luck_that_whole_days_share_does_not_pass() -> None:
    alone = decide_promotion("20310501-aaaaaaaa", "20310401-bbbbbbbb", evidence(0.02, clusters=20))
    run_together = decide_promotion("20310501-aaaaaaaa", "20310401-bbbbbbbb", evidence(0.02, clusters=20, shared=0.2))

    assert alone.passed
    assert not run_together.passed


def test_a_less_well_calibrated_candidate_does_not_pass_however_good() -> None:
    within = decide_promotion("20310501-aaaaaaaa", "20310401-bbbbbbbb", evidence(0.05, ece_loss=ECE_TOLERANCE * 0.9))
    beyond = decide_promotion("20310501-aaaaaaaa", "20310401-bbbbbbbb", evidence(0.05, ece_loss=ECE_TOLERANCE * 1.1))

    assert within.passed
    assert not beyond.passed
    assert "is less well calibrated" in beyond.why


@pytest.mark.parametrize(("events", "clusters"), [(MIN_EVENTS - 1, 40), (1000, 9), (0, 1)])
def test_too_little_evidence_is_undecided_and_says_what_to_do(events: int, clusters: int) -> None:
    verdict = decide_promotion(
        "20310501-aaaaaaaa",
        "20310401-bbbbbbbb",
        evidence(0.5, events=events, clusters=clusters) if events else paired_scores([], "stored predictions"),
    )

    assert (verdict.passed, verdict.decided) == (False, False)
    assert "headrace models shadow 20310501-aaaaaaaa" in verdict.why
    assert "force it with a reason" in verdict.why


def test_the_same_evidence_gives_the_same_verdict() -> None:
    assert decide_promotion("a", "b", evidence(0.01)) == decide_promotion("a", "b", evidence(0.01))


def test_losses_are_those_of_the_entry_that_won() -> None:
    scores = paired_scores(
        [
            PairedForecast("x", "d1 7", 1, (0.2, 0.5, 0.3), (0.6, 0.25, 0.15)),
            PairedForecast("y", "d1 8", 0, (0.0, 1.0), (0.5, 0.5)),
        ],
        "walk-forward",
    )

    assert scores.challenger[0] == pytest.approx(math.log(2))
    assert scores.champion == pytest.approx([math.log(4), math.log(2)])
    assert scores.challenger[1] == pytest.approx(-math.log(1e-12))
    assert scores.clusters.tolist() == [0, 1]


def test_a_model_that_is_right_as_often_as_predicted_has_no_calibration_error() -> None:
    forecasts = [(0.75, 0.25)] * 4

    assert ece(forecasts, [0, 0, 0, 1]) == pytest.approx(0.0)
    assert ece(forecasts, [1, 1, 1, 1]) == pytest.approx(0.75)


def test_without_a_live_model_it_is_enough_to_beat_the_base_rate_in_every_state() -> None:
    assert decide_first_promotion("20310501-aaaaaaaa", GOOD).passed
    verdict = decide_first_promotion("20310501-aaaaaaaa", BAD)
    assert not verdict.passed
    assert "card 1.4000 (base 1.3600)" in verdict.why


def test_a_model_without_metrics_does_not_pass() -> None:
    assert not decide_first_promotion("20310501-aaaaaaaa", {"validation_events": 0.0}).passed
