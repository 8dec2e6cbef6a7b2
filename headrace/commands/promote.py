"""The command `headrace promote`."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import Annotated, Any

import typer

from headrace.database.access import open_existing_database, service_settings
from headrace.remote import registry
from headrace.remote.client import ApiClient, wait_for_operation
from headrace.remote.services import ACCEPTED
from headrace.terminal.arguments import grouped_options
from headrace.terminal.extras import require_extras
from headrace.terminal.output import stderr
from services.predictor.promotion.promote import PromotionSetup, gate_verdict
from services.predictor.promotion.verdict import verdict_on
from services.predictor.registry import state_file, transitions
from services.predictor.registry.gate import Verdict
from services.predictor.settings import PredictorSettings
from shared.errors import ConfigError
from shared.ops.operations import NotPossible


@grouped_options
def promote(
    registry_access: registry.RegistryAccess,
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
        client = registry_access.predictor(stack)
        full_version = registry.version_of(version, registry.versions(registry_access, client))
        change = (
            _promote_by_service(client, full_version, force, reason)
            if client is not None
            else _promote_locally(registry_access, full_version, force, reason)
        )
    registry.print_change(registry_access, change)


def _promote_by_service(client: ApiClient, version: str, force: bool, reason: str | None) -> dict[str, Any]:
    """The model's state afterwards. Waits for the operation if the gate has to evaluate stored facts."""
    request = ({"force": True} if force else {}) | ({"reason": reason} if reason else {})
    states_before = {each["version"]: each["state"] for each in client.get("/models")}
    answer = client.post(f"/models/{version}/promote", request)
    if answer.status != ACCEPTED:
        return dict(answer.body)
    operation = wait_for_operation(client, answer.body, stderr())
    live = next((each for each, state in states_before.items() if state == "live"), None)
    verdict = Verdict(passed=True, decided=True, why=operation["counts"]["gate"], against=live, source="", figures={})
    return {
        "version": version,
        "before": states_before.get(version),
        "state": "live",
        "live": version,
        "was_live": live,
        "gate": verdict.model_dump(mode="json"),
    }


def _promote_locally(
    registry_access: registry.RegistryAccess, version: str, force: bool, reason: str | None
) -> dict[str, Any]:
    verdict = None if force else _ask_gate(registry_access, version)
    if verdict is not None and not verdict.passed:
        raise NotPossible(verdict.why)
    step = partial(transitions.promote, verdict=verdict)
    return registry.change_locally(registry_access, "promote", version, registry_access.order(reason), step, verdict)


def _ask_gate(registry_access: registry.RegistryAccess, version: str) -> Verdict:
    """Asks the gate. Without a live model there is no comparison, and no database is needed."""
    models_dir = registry_access.models_dir
    if state_file.read(models_dir).live is None:
        return verdict_on(models_dir, version, lambda _duel: [])
    require_extras("comparing models", "predictor")
    with open_existing_database(registry_access.settings) as access:
        settings = service_settings(
            PredictorSettings, access, registry_access.settings.data_dir, registry_access.config
        )
        context = PromotionSetup(settings.database.conninfo("headrace promote"), models_dir)
        verdict = gate_verdict(context, version)
        if verdict.decided:
            return verdict
        from services.predictor.promotion.postgres_replayed_duel import compare_on_history  # noqa: PLC0415 - torch takes seconds to import

        return gate_verdict(context._replace(compare_on_history=compare_on_history), version)
