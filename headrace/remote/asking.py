"""Defines the options of commands that call the services' REST API."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from headrace.remote.client import ApiClient, open_api
from headrace.terminal.arguments import DatabaseOptions, Output, OutputOption


@dataclass(frozen=True)
class ApiOptions(DatabaseOptions):
    """The replica to call, the token, and the output format."""

    output: OutputOption = Output.TABLE
    url: Annotated[str | None, typer.Option("--url", metavar="URL", help="Call this replica.")] = None
    token_file: Annotated[
        Path | None,
        typer.Option(
            "--token-file",
            envvar="HEADRACE_TOKEN_FILE",
            metavar="FILE",
            help="File with the token. [default: DATA-DIR/token]",
        ),
    ] = None

    @contextmanager
    def open_api(self, service: str) -> Iterator[ApiClient]:
        with open_api(self.settings, service, self.url, self.token_file) as client:
            yield client
