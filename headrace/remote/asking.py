"""The options of every command that asks the services."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated

import typer

from headrace.remote.client import Api, api
from headrace.terminal.arguments import (
    ConfigOption,
    DatabaseOption,
    DataDirOption,
    Output,
    OutputOption,
    settings_of,
)
from shared.settings.sections import Settings


@dataclass(frozen=True)
class Asking:
    """Whom to ask, with which token, and how to write the answer."""

    output: OutputOption = Output.TABLE
    url: Annotated[str | None, typer.Option("--url", metavar="URL", help="Ask this replica.")] = None
    token_file: Annotated[
        Path | None,
        typer.Option(
            "--token-file", envvar="HEADRACE_TOKEN_FILE", metavar="FILE", help="A token. [default: DATA-DIR/token]"
        ),
    ] = None
    data_dir: DataDirOption = None
    database: DatabaseOption = None
    config: ConfigOption = None

    @cached_property
    def settings(self) -> Settings:
        """Raises ConfigError."""
        return settings_of(self.data_dir, self.database, self.config)

    @contextmanager
    def api(self, service: str) -> Iterator[Api]:
        with api(self.settings, service, self.url, self.token_file) as asked:
            yield asked
