"""The command `headrace train`."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from typing import Annotated, Any

import typer

from headrace.database.access import opened_if_made, service_settings
from headrace.processes.parent_death import end_with_supervisor
from headrace.remote.client import Api, follow
from headrace.remote.registry import Bench
from headrace.remote.services import conclude
from headrace.terminal.arguments import Output, grouped_options
from headrace.terminal.days import day_text
from headrace.terminal.output import note, print_json, stderr
from headrace.terminal.predictor_extra import require
from services.predictor.settings import PredictorSettings
from services.predictor.training.request import SEED, TrainingContext, TrainingRequest


@grouped_options
def train(
    bench: Bench,
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
    wish = {"seed": seed, "until": day_text("--until", until), "validate_days": validate_days, "promote": promote}
    with ExitStack() as stack:
        asked = bench.predictor(stack)
        if asked is not None and not wait:
            conclude(asked, asked.post("/trainings", wish), False, bench.output)
            return
        result = _asked(asked, wish) if asked is not None else _locally(bench, wish)
    if bench.output is Output.JSON:
        print_json(result)
    else:
        sys.stdout.write(f"{line_of(result)}\n")


def _asked(asked: Api, wish: dict[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = follow(asked, asked.post("/trainings", wish).body, stderr())["counts"]
    if "gate" in result:
        note(f"the gate: {result['gate']}")
    return result


def _locally(bench: Bench, wish: dict[str, Any]) -> dict[str, Any]:
    require("training a model")
    from services.predictor.jobs.worker_program import parts  # noqa: PLC0415 - torch takes seconds to import
    from services.predictor.promotion.promote import Place, trained  # noqa: PLC0415

    asked = bench.settings
    with opened_if_made(asked) as access:
        predictor = service_settings(PredictorSettings, access, asked.data_dir, bench.config)
        learns, walks, executor = parts()
        place = Place(predictor.database.conninfo("headrace train"), predictor.models_dir, walks)
        context = TrainingContext(note, executor=executor)
        return trained(place, learns, TrainingRequest.model_validate(wish), bench.order(None), context)


def line_of(result: dict[str, Any]) -> str:
    return (
        f"model {result['version']} is {result['state']}: {result['events']:,} events from {result['first_day']} to"
        f" {result['last_day']}, {result['seconds']:.0f} s"
    )
