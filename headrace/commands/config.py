"""The command `headrace config`: shows the settings in force."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import orjson
import typer

from headrace.database.embedded import EmbeddedPostgres
from headrace.run.programs import MODELS
from headrace.terminal.arguments import DatabaseOptions, Output, OutputOption, WideOption, grouped_options
from headrace.terminal.output import print_answer
from shared.settings.loading import load
from shared.settings.sections import Settings
from shared.settings.tables import in_force

app = typer.Typer(help="Settings.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def config() -> None:
    """Settings."""


@app.command()
@grouped_options
def show(place: DatabaseOptions, output: OutputOption = Output.TABLE, wide: WideOption = False) -> None:
    """Show the settings in force, from file, environment and options. Secrets appear only as file names."""
    shown = all_in_force(place.settings, place.config)
    rows = [(key, value if value is None else orjson.dumps(value).decode().strip('"')) for key, value in shown.items()]
    print_answer(output, shown, ("setting", "value"), rows, "no settings", wide=wide)


def all_in_force(settings: Settings, config: Path | None) -> dict[str, Any]:
    """The common settings, then those of each service. Raises ConfigError for an invalid setting of any of them."""
    shown = in_force(settings)
    if settings.database is None:
        shown["database.url"] = EmbeddedPostgres(settings.data_dir).url()
    for model in MODELS:
        own = load(model, os.environ, config, {"database.url": shown["database.url"]})
        shown |= {key: value for key, value in in_force(own).items() if key.startswith(f"{model.name}.")}
    return shown
