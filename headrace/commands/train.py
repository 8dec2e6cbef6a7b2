"""headrace train."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from datetime import date
from functools import partial
from typing import Annotated, Any

import orjson
import typer

from headrace.client import Api, follow
from headrace.commands.arguments import Output, stderr
from headrace.commands.predictor_extra import require
from headrace.commands.registry import Bench, at_registry
from headrace.commands.remote import conclude
from headrace.database.access import opened_if_made, service_settings
from headrace.options import day
from headrace.processes.parent_death import end_with_supervisor
from services.predictor.settings import PredictorSettings
from services.predictor.training.request import SEED, TrainingContext, TrainingRequest


@at_registry
def train(
    bench: Bench,
    seed: Annotated[
        int, typer.Option(min=0, max=2**31 - 1, help="Of everything that is drawn; the same one, the same model.")
    ] = SEED,
    until: Annotated[str | None, typer.Option(metavar="D", help="Learn from days up to this one only.")] = None,
    validate_days: Annotated[
        int | None,
        typer.Option(min=1, max=1000, metavar="N", help="Measure on the last N days. [default: a share of them]"),
    ] = None,
    promote: Annotated[bool, typer.Option("--promote/--no-promote", help="Bring it before the gate.")] = True,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Until it is done, where the predictor does it.")
    ] = True,
) -> None:
    """Train a model on the loaded history; it goes live if the gate lets it pass, and at once where none is live.

    The predictor does it, at low priority, where it runs; else it is done here.
    """
    end_with_supervisor(os.environ)
    last_day = day("--until", until)
    wish = {"seed": seed, "until": _said(last_day), "validate_days": validate_days, "promote": promote}
    with ExitStack() as stack:
        asked = bench.api(stack)
        if asked is not None and not wait:
            conclude(asked, asked.post("/trainings", wish), False, bench.asking.output)
            return
        result = _asked(asked, wish) if asked is not None else _locally(bench, wish)
    in_words = bench.asking.output is not Output.JSON
    sys.stdout.write((line_of(result) if in_words else orjson.dumps(result).decode()) + "\n")


def _asked(asked: Api, wish: dict[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = follow(asked, asked.post("/trainings", wish).body, stderr())["counts"]
    if "gate" in result:
        stderr().print(f"the gate: {result['gate']}", markup=False, soft_wrap=True)
    return result


def _locally(bench: Bench, wish: dict[str, Any]) -> dict[str, Any]:
    require("a training")
    from services.predictor.jobs.worker_program import parts  # noqa: PLC0415 - torch takes seconds to import
    from services.predictor.promotion.promote import Place, trained  # noqa: PLC0415

    console, asked = stderr(), bench.asking.settings
    with opened_if_made(asked) as access:
        predictor = service_settings(PredictorSettings, access, asked.data_dir, bench.config)
        learns, walks, executor = parts()
        place = Place(predictor.database.conninfo("headrace train"), predictor.models_dir, walks)
        context = TrainingContext(partial(console.print, markup=False, soft_wrap=True), executor=executor)
        return trained(place, learns, TrainingRequest.model_validate(wish), bench.order(None), context)


def _said(last_day: date | None) -> str | None:
    return None if last_day is None else last_day.isoformat()


def line_of(result: dict[str, Any]) -> str:
    return (
        f"model {result['version']} is {result['state']}: {result['events']:,} events from {result['first_day']} to"
        f" {result['last_day']}, {result['seconds']:.0f} s"
    )
