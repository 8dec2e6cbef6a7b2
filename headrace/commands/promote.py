"""The command `headrace promote`."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import Annotated, Any

import typer

from headrace.database.access import opened_if_made, service_settings
from headrace.remote import registry
from headrace.remote.client import Api, follow
from headrace.remote.services import ACCEPTED
from headrace.terminal.arguments import grouped_options
from headrace.terminal.output import stderr
from headrace.terminal.predictor_extra import require
from services.predictor.promotion.promote import Place, verdict_of
from services.predictor.promotion.verdict import verdict_on
from services.predictor.registry import state_file, transitions
from services.predictor.registry.gate import Verdict
from services.predictor.settings import PredictorSettings
from shared.errors import ConfigError
from shared.ops.operations import NotPossible


@grouped_options
def promote(
    bench: registry.Bench,
    version: registry.VersionArgument,
    force: Annotated[bool, typer.Option("--force", help="Promote without asking the gate; requires --reason.")] = False,
    reason: registry.ReasonOption = None,
) -> None:
    """Make a model live if the gate passes it: it must be better than the live model, with confidence, on settled
    events that neither was fitted on, and no worse calibrated. The live model is retired; `headrace rollback` restores
    it."""
    if force and not reason:
        raise ConfigError("--force requires --reason, which is kept with the change")
    with ExitStack() as stack:
        asked = bench.predictor(stack)
        meant = registry.version_of(version, registry.versions(bench, asked))
        said = _asked(asked, meant, force, reason) if asked is not None else _locally(bench, meant, force, reason)
    registry.conclude_step(bench, said)


def _asked(asked: Api, version: str, force: bool, reason: str | None) -> dict[str, Any]:
    """The model's state afterwards. Waits for the operation if the gate has to evaluate stored facts."""
    wish = ({"force": True} if force else {}) | ({"reason": reason} if reason else {})
    before = {each["version"]: each["state"] for each in asked.get("/models")}
    answer = asked.post(f"/models/{version}/promote", wish)
    if answer.status != ACCEPTED:
        return dict(answer.body)
    done = follow(asked, answer.body, stderr())
    live = next((each for each, state in before.items() if state == "live"), None)
    verdict = Verdict(passed=True, decided=True, why=done["counts"]["gate"], against=live, source="", figures={})
    return {
        "version": version,
        "before": before.get(version),
        "state": "live",
        "live": version,
        "was_live": live,
        "gate": verdict.model_dump(mode="json"),
    }


def _locally(bench: registry.Bench, version: str, force: bool, reason: str | None) -> dict[str, Any]:
    verdict = None if force else _verdict(bench, version)
    if verdict is not None and not verdict.passed:
        raise NotPossible(verdict.why)
    step = partial(transitions.promote, verdict=verdict)
    return registry.done_locally(bench, "promote", version, bench.order(reason), step, verdict)


def _verdict(bench: registry.Bench, version: str) -> Verdict:
    """Asks the gate. Without a live model there is no comparison, and no database is needed."""
    models_dir = bench.models_dir
    if state_file.read(models_dir).live is None:
        return verdict_on(models_dir, version, lambda _duel: [])
    require("comparing models")
    with opened_if_made(bench.settings) as access:
        settings = service_settings(PredictorSettings, access, bench.settings.data_dir, bench.config)
        place = Place(settings.database.conninfo("headrace promote"), models_dir)
        verdict = verdict_of(place, version)
        if verdict.decided:
            return verdict
        from services.predictor.promotion.postgres_replayed_duel import walk  # noqa: PLC0415 - torch takes seconds to import

        return verdict_of(place._replace(walk=walk), version)
