"""The command `headrace train`."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import Annotated, Any

import typer

from headrace.database.access import open_existing_database, service_settings
from headrace.processes.parent_death import end_with_supervisor
from headrace.remote.client import ApiClient, wait_for_operation
from headrace.remote.registry import RegistryAccess
from headrace.remote.services import print_operation
from headrace.terminal.arguments import Output, grouped_options
from headrace.terminal.days import validated_day
from headrace.terminal.extras import require_extras
from headrace.terminal.output import print_json, print_note, print_text, stderr
from services.predictor.settings import PredictorSettings
from services.predictor.training.request import SEED, TrainingContext, TrainingRequest


@grouped_options
def train(
    registry_access: RegistryAccess,
    seed: Annotated[
        int, typer.Option(min=0, max=2**31 - 1, help="Random seed; the same seed gives the same model.")
    ] = SEED,
    until: Annotated[str | None, typer.Option(metavar="D", help="Last day to train on.")] = None,
    validate_days: Annotated[
        int | None,
        typer.Option(min=1, max=1000, metavar="N", help="Validate on the last N days. [default: a share of all days]"),
    ] = None,
    promote: Annotated[
        bool, typer.Option("--promote/--no-promote", help="Promote the model if the gate passes it.")
    ] = True,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for a training that the predictor runs.")] = True,
) -> None:
    """Train a model on the loaded history. It goes live if the promotion gate passes it; without a live model, it only
    has to be better than the base rate.

    A running predictor trains at low priority; otherwise this command trains the model itself.
    """
    end_with_supervisor(os.environ)
    request = {
        "seed": seed,
        "until": validated_day("--until", until),
        "validate_days": validate_days,
        "promote": promote,
    }
    with ExitStack() as stack:
        client = registry_access.predictor(stack)
        if client is not None and not wait:
            print_operation(client, client.post("/trainings", request), False, registry_access.output)
            return
        result = _train_by_service(client, request) if client is not None else _train_locally(registry_access, request)
    if registry_access.output is Output.JSON:
        print_json(result)
    else:
        print_text(result_line(result))


def _train_by_service(client: ApiClient, request: dict[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = wait_for_operation(client, client.post("/trainings", request).body, stderr())["counts"]
    if "gate" in result:
        print_note(f"the gate: {result['gate']}")
    return result


def _train_locally(registry_access: RegistryAccess, request: dict[str, Any]) -> dict[str, Any]:
    require_extras("training a model", "predictor")
    from services.predictor.jobs.worker_program import components  # noqa: PLC0415 - torch takes seconds to import
    from services.predictor.promotion.promote import PromotionSetup, train_and_promote  # noqa: PLC0415

    settings = registry_access.settings
    with open_existing_database(settings) as access:
        predictor = service_settings(PredictorSettings, access, settings.data_dir, registry_access.config)
        train_model, walk, executor = components()
        # As the owner: the predictor's login cannot write a line of the trail in the name of the command.
        target = PromotionSetup(access.owner().conninfo("headrace train"), predictor.models_dir, walk)
        context = TrainingContext(print_note, executor=executor)
        return train_and_promote(
            target, train_model, TrainingRequest.model_validate(request), registry_access.order(None), context
        )


def result_line(result: dict[str, Any]) -> str:
    return (
        f"model {result['version']} is {result['state']}: {result['events']:,} events from {result['first_day']} to"
        f" {result['last_day']}, {result['seconds']:.0f} s"
    )
