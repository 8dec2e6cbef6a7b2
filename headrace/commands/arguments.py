"""The options that every command has, and the settings they lead to."""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from shared.settings.loading import load
from shared.settings.sections import Settings


class Output(StrEnum):
    """How an answer is written: for people, or for programs."""

    TABLE = "table"
    JSON = "json"


DataDirOption = Annotated[
    Path | None, typer.Option("--data-dir", metavar="DIR", help="Where everything is kept. [default: .headrace]")
]
DatabaseOption = Annotated[
    str | None,
    typer.Option(
        "--database", metavar="URL", help="A PostgreSQL to use, without its password. [default: an embedded one]"
    ),
]
BrokerOption = Annotated[
    str | None,
    typer.Option("--broker", metavar="embedded|kafka://HOST:PORT", help="Where the topics lie. [default: embedded]"),
]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="The settings file. [default: headrace.yaml, if there]")
]
OutputOption = Annotated[Output, typer.Option("--output", "-o", help="How to write the answer.")]


def settings_of(
    data_dir: Path | None, database: str | None, config: Path | None, broker: str | None = None
) -> Settings:
    """File, environment and options; the data directory as an absolute path. Raises ConfigError."""
    given = {"data_dir": data_dir, "database.url": database, "broker.url": broker}
    settings = load(Settings, os.environ, config, given)
    return settings.model_copy(update={"data_dir": settings.data_dir.expanduser().resolve()})


def stdout() -> Console:
    """Rich follows NO_COLOR, and leaves colours away where there is no terminal; there, nothing is cut to a width."""
    return Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 10_000)


def stderr() -> Console:
    return Console(stderr=True, highlight=False)
