"""headrace train."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import orjson
import typer

from headrace.access import opened_if_made, service_settings
from headrace.commands.arguments import (
    ConfigOption,
    DatabaseOption,
    DataDirOption,
    Output,
    OutputOption,
    settings_of,
    stderr,
)
from headrace.options import day
from headrace.orphan import end_with_supervisor
from services.predictor.settings import PredictorSettings


def train(
    seed: Annotated[int, typer.Option(min=0, help="Of everything that is drawn; the same one, the same model.")] = 7,
    until: Annotated[str | None, typer.Option(metavar="D", help="Learn from days up to this one only.")] = None,
    output: OutputOption = Output.TABLE,
    data_dir: DataDirOption = None,
    database: DatabaseOption = None,
    config: ConfigOption = None,
) -> None:
    """Train a model on the loaded history and make it the live one."""
    end_with_supervisor(os.environ)
    last_day = day("--until", until)
    settings = settings_of(data_dir, database, config)
    from services.predictor.train_command import train as train_model  # noqa: PLC0415 - torch takes seconds to import

    console = stderr()
    with opened_if_made(settings) as access:
        predictor = service_settings(PredictorSettings, access, settings.data_dir, config)
        result = train_model(
            predictor.database.conninfo("headrace train"), predictor.models_dir, seed, last_day,
            lambda text: console.print(text, markup=False),
        )  # fmt: skip
    sys.stdout.write((orjson.dumps(result).decode() if output is Output.JSON else line_of(result)) + "\n")


def line_of(result: dict[str, Any]) -> str:
    return (
        f"model {result['version']}: {result['events']:,} events from {result['first_day']} to {result['last_day']},"
        f" {result['parameters']:,} parameters, {result['seconds']:.0f} s"
    )
