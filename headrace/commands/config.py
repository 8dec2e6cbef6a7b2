"""headrace config."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import orjson
import typer
from rich.table import Table

from headrace.commands.arguments import (
    ConfigOption,
    DatabaseOption,
    DataDirOption,
    Output,
    OutputOption,
    settings_of,
    stdout,
)
from headrace.database.embedded import EmbeddedPostgres
from headrace.run.programs import MODELS
from shared.settings.loading import load
from shared.settings.sections import Settings
from shared.settings.tables import in_force

app = typer.Typer(help="Settings.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def config() -> None:
    """Settings."""


@app.command()
def show(
    output: OutputOption = Output.TABLE,
    data_dir: DataDirOption = None,
    database: DatabaseOption = None,
    config: ConfigOption = None,
) -> None:
    """What is in force, from file, environment and options; of secrets only where they lie."""
    shown = all_in_force(settings_of(data_dir, database, config), config)
    if output is Output.JSON:
        sys.stdout.write(orjson.dumps(shown).decode() + "\n")
        return
    table = Table("setting", "value")
    for key, value in shown.items():
        table.add_row(key, "" if value is None else orjson.dumps(value).decode().strip('"'))
    stdout().print(table, markup=False)


def all_in_force(settings: Settings, config: Path | None) -> dict[str, Any]:
    """The common settings, then each service's own. Raises ConfigError for what is wrong in any of them."""
    shown = in_force(settings)
    if settings.database is None:
        shown["database.url"] = EmbeddedPostgres(settings.data_dir).url()
    for model in MODELS:
        own = load(model, os.environ, config, {"database.url": shown["database.url"]})
        shown |= {key: value for key, value in in_force(own).items() if key.startswith(f"{model.name}.")}
    return shown
