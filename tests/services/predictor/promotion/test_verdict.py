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
from tests.services.predictor.shelf_orders import BAD, GOOD, label_of, order


def added(models: Path, seed: int, last_day: str = "2031-04-30", metrics: dict[str, float] = GOOD) -> str:
    return transitions.add(models, last_day, label_of(seed, last_day, metrics), bytes(8), {}, order())


def live(models: Path, last_day: str = "2031-04-30") -> str:
    version = added(models, 1, last_day)
    transitions.promote(models, version, order(), None)
    return version


def judged(events: int) -> list[PairedForecast]:
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


def not_asked(duel: Comparison) -> Sequence[PairedForecast]:
    raise AssertionError(f"asked for {duel}")


def test_without_a_live_model_the_metrics_decide(tmp_path: Path) -> None:
    good, bad = added(tmp_path, 1), added(tmp_path, 2, metrics=BAD)

    assert verdict_on(tmp_path, good, not_asked, not_asked).passed
    assert not verdict_on(tmp_path, bad, not_asked, not_asked).passed


def test_the_live_model_passes_unseen(tmp_path: Path) -> None:
    version = live(tmp_path)

    assert verdict_on(tmp_path, version, not_asked, not_asked).passed


def test_enough_stored_predictions_decide_without_a_replay(tmp_path: Path) -> None:
    before, version = live(tmp_path), added(tmp_path, 2)

    verdict = verdict_on(tmp_path, version, lambda _: judged(400), not_asked)

    assert (verdict.passed, verdict.against, verdict.source) == (True, before, "stored predictions")


def test_too_few_stored_predictions_lead_to_a_replay(tmp_path: Path) -> None:
    live(tmp_path)
    version = added(tmp_path, 2)

    verdict = verdict_on(tmp_path, version, lambda _: judged(20), lambda _: judged(400))

    assert (verdict.decided, verdict.source) == (True, "walk-forward")
    assert not verdict_on(tmp_path, version, lambda _: judged(20)).decided


@pytest.mark.parametrize(("of_live", "of_candidate"), [("2031-03-31", "2031-04-30"), ("2031-04-30", "2031-03-31")])
def test_only_days_after_the_data_of_both_models_count(tmp_path: Path, of_live: str, of_candidate: str) -> None:
    before, version = live(tmp_path, of_live), added(tmp_path, 2, of_candidate)
    duels: list[Comparison] = []

    def look(duel: Comparison) -> Sequence[PairedForecast]:
        duels.append(duel)
        return judged(400)

    verdict_on(tmp_path, version, look)

    assert duels == [Comparison(version, before, date(2031, 4, 30))]


def test_a_live_model_that_cannot_be_read_is_said_to_need_force(tmp_path: Path) -> None:
    before, version = live(tmp_path), added(tmp_path, 2)
    (tmp_path / before / MODEL).unlink()

    with pytest.raises(ConfigError, match=r"cannot compare with the live model.*force the promotion"):
        verdict_on(tmp_path, version, not_asked)
