"""Obtains the gate's verdict on whether a model may go live. Changes nothing.

The two models are compared by stored predictions that both made. If these are too few, both models predict again from
stored facts, if the caller can do that (it needs torch).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path

from services.predictor.registry import model_files, state_file
from services.predictor.registry.gate import Duel, Judged, Source, Verdict, evidence_of, judge, judge_alone
from shared.errors import ConfigError

Look = Callable[[Duel], Sequence[Judged]]
"""Probabilities of both models on the same events."""


def verdict_on(models_dir: Path, version: str, stored: Look, walked: Look | None = None) -> Verdict:
    """The gate's verdict; `decided` is False if there are too few events to compare the models.

    Raises ConfigError if one of the two models cannot be read.
    """
    body, live = model_files.body_of(models_dir, version), state_file.read(models_dir).live
    if live == version:
        return Verdict(passed=True, decided=True, why=f"{version} is live", against=live, source="", figures={})
    if live is None:
        return judge_alone(version, body["description"].get("metrics") or {})
    duel = Duel(version, live, max(_last_day(body), _last_day(_body_of_live(models_dir, live))))
    looks: list[tuple[Look, Source]] = [(stored, "stored predictions")]
    if walked is not None:
        looks.append((walked, "walk-forward"))
    for look, source in looks:
        verdict = judge(version, live, evidence_of(look(duel), source))
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
