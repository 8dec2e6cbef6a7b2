"""Which evidence the gate is shown: metrics, stored predictions, or a replay of stored facts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path

import pytest

from services.predictor.promotion.verdict import verdict_on
from services.predictor.registry import transitions
from services.predictor.registry.gate import Comparison, PairedForecast
from services.predictor.registry.model_files import MODEL
from shared.errors import ConfigError
from tests.services.predictor.model_requests import BAD, GOOD, label_of, order


def add_model(models: Path, seed: int, last_day: str = "2031-04-30", metrics: dict[str, float] = GOOD) -> str:
    return transitions.add(models, last_day, label_of(seed, last_day, metrics), bytes(8), {}, order())


def add_live_model(models: Path, last_day: str = "2031-04-30") -> str:
    version = add_model(models, 1, last_day)
    transitions.promote(models, version, order(), None)
    return version


def forecasts(events: int) -> list[PairedForecast]:
    """The candidate is right about each event."""
    return [
        PairedForecast(
            f"event {number}",
            f"day {number % 20}",
            number % 2,
            (1.0, 0.0) if number % 2 == 0 else (0.0, 1.0),
            (0.5, 0.5),
        )
        for number in range(events)
    ]


def unexpected(duel: Comparison) -> Sequence[PairedForecast]:
    raise AssertionError(f"unexpected comparison: {duel}")


def test_without_a_live_model_the_metrics_decide(tmp_path: Path) -> None:
    good, bad = add_model(tmp_path, 1), add_model(tmp_path, 2, metrics=BAD)

    assert verdict_on(tmp_path, good, unexpected, unexpected).passed
    assert not verdict_on(tmp_path, bad, unexpected, unexpected).passed


def test_the_live_model_passes_without_evidence(tmp_path: Path) -> None:
    version = add_live_model(tmp_path)

    assert verdict_on(tmp_path, version, unexpected, unexpected).passed


def test_enough_stored_predictions_decide_without_a_replay(tmp_path: Path) -> None:
    before, version = add_live_model(tmp_path), add_model(tmp_path, 2)

    verdict = verdict_on(tmp_path, version, lambda _: forecasts(400), unexpected)

    assert (verdict.passed, verdict.against, verdict.source) == (True, before, "stored predictions")


def test_too_few_stored_predictions_lead_to_a_replay(tmp_path: Path) -> None:
    add_live_model(tmp_path)
    version = add_model(tmp_path, 2)

    verdict = verdict_on(tmp_path, version, lambda _: forecasts(20), lambda _: forecasts(400))

    assert (verdict.decided, verdict.source) == (True, "walk-forward")
    assert not verdict_on(tmp_path, version, lambda _: forecasts(20)).decided


@pytest.mark.parametrize(
    ("live_last_day", "candidate_last_day"), [("2031-03-31", "2031-04-30"), ("2031-04-30", "2031-03-31")]
)
def test_only_days_after_the_data_of_both_models_count(
    tmp_path: Path, live_last_day: str, candidate_last_day: str
) -> None:
    before, version = add_live_model(tmp_path, live_last_day), add_model(tmp_path, 2, candidate_last_day)
    duels: list[Comparison] = []

    def read(duel: Comparison) -> Sequence[PairedForecast]:
        duels.append(duel)
        return forecasts(400)

    verdict_on(tmp_path, version, read)

    assert duels == [Comparison(version, before, date(2031, 4, 30))]


def test_if_the_live_model_cannot_be_read_the_error_suggests_force(tmp_path: Path) -> None:
    before, version = add_live_model(tmp_path), add_model(tmp_path, 2)
    (tmp_path / before / MODEL).unlink()

    with pytest.raises(ConfigError, match=r"cannot compare with the live model.*force the promotion"):
        verdict_on(tmp_path, version, unexpected)
