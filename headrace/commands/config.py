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
from shared.settings.tables import effective_values

app = typer.Typer(help="Settings.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def config() -> None:
    """Settings."""


@app.command()
@grouped_options
def show(options: DatabaseOptions, output: OutputOption = Output.TABLE, wide: WideOption = False) -> None:
    """Show the settings in force, from file, environment and options. Secrets appear only as file names."""
    effective = effective_settings(options.settings, options.config)
    rows = [
        (key, value if value is None else orjson.dumps(value).decode().strip('"')) for key, value in effective.items()
    ]
    print_answer(output, effective, ("setting", "value"), rows, "no settings", wide=wide)


def effective_settings(settings: Settings, config: Path | None) -> dict[str, Any]:
    """The common settings, then those of each service. Raises ConfigError for an invalid setting of any of them."""
    effective = effective_values(settings)
    if settings.database is None:
        effective["database.url"] = EmbeddedPostgres(settings.data_dir).url()
    for model in MODELS:
        own = load(model, os.environ, config, {"database.url": effective["database.url"]})
        effective |= {key: value for key, value in effective_values(own).items() if key.startswith(f"{model.name}.")}
    return effective
