"""Obtains the gate's verdict on whether a model may go live. Changes nothing.

The two models are compared by stored predictions that both made. If these are too few, both models predict again from
stored facts, if the caller can do that (it needs torch).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path

from services.predictor.registry import model_files, state_file
from services.predictor.registry.gate import (
    Comparison,
    PairedForecast,
    Source,
    Verdict,
    decide_first_promotion,
    decide_promotion,
    paired_scores,
)
from shared.errors import ConfigError

CompareModels = Callable[[Comparison], Sequence[PairedForecast]]
"""Probabilities of both models on the same events."""


def verdict_on(
    models_dir: Path, version: str, compare_stored: CompareModels, compare_on_history: CompareModels | None = None
) -> Verdict:
    """The gate's verdict; `decided` is False if there are too few events to compare the models.

    Raises ConfigError if one of the two models cannot be read.
    """
    body, live = model_files.body_of(models_dir, version), state_file.read(models_dir).live
    if live == version:
        return Verdict(passed=True, decided=True, why=f"{version} is live", against=live, source="", figures={})
    if live is None:
        return decide_first_promotion(version, body["description"].get("metrics") or {})
    comparison = Comparison(version, live, max(_last_day(body), _last_day(_body_of_live(models_dir, live))))
    sources: list[tuple[CompareModels, Source]] = [(compare_stored, "stored predictions")]
    if compare_on_history is not None:
        sources.append((compare_on_history, "walk-forward"))
    for compare, source in sources:
        verdict = decide_promotion(version, live, paired_scores(compare(comparison), source))
        if verdict.decided:
            break
    return verdict


def _last_day(body: dict[str, object]) -> date:
    return date.fromisoformat(str(body["last_day"]))


def _body_of_live(models_dir: Path, live: str) -> dict[str, object]:
    try:
        return model_files.body_of(models_dir, live)
    except ConfigError as error:
        raise ConfigError(f"cannot compare with the live model: {error}. Or force the promotion") from error
