"""May a model go live? Puts what the registry says of two models, and how they did, before the gate. Executes nothing.

How they did comes from predictions that were stored, where both made them; else from walking over stored facts with
both models, where the caller can do that (it needs torch).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path

from services.predictor.registry import model_files, state_file
from services.predictor.registry.gate import Duel, Judged, Source, Verdict, evidence_of, judge, judge_alone
from shared.errors import ConfigError

Look = Callable[[Duel], Sequence[Judged]]
"""How both models did."""


def verdict_on(models_dir: Path, version: str, stored: Look, walked: Look | None = None) -> Verdict:
    """What the gate says; `decided` is False where more is to be seen first.

    Raises ConfigError where one of the two models cannot be read.
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
        raise ConfigError(f"the live model cannot be judged against: {error}. Or force the promotion") from error
