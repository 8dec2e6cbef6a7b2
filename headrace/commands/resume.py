"""headrace resume."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from headrace.commands.arguments import (
    ConfigOption,
    DatabaseOption,
    DataDirOption,
    Output,
    OutputOption,
    settings_of,
)
from headrace.commands.remote import ServiceArgument, TokenFileOption, UrlOption, WaitOption
from headrace.commands.steering import AllOption, ReasonOption, TopicsArgument, asked_for, steer_service


def resume(
    service: ServiceArgument,
    topics: TopicsArgument = None,
    all_: AllOption = False,
    wait: WaitOption = False,
    reason: ReasonOption = None,
    tolerate: Annotated[
        int,
        typer.Option(min=0, metavar="N", help="So many more failures before it is held back again."),
    ] = 0,
    output: OutputOption = Output.TABLE,
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    data_dir: DataDirOption = None,
    database: DatabaseOption = None,
    config: ConfigOption = None,
) -> None:
    """Let a service go on with a topic; also where it held a partition back because too many records failed."""
    settings = settings_of(data_dir, database, config)
    wish: dict[str, Any] = ({"reason": reason} if reason else {}) | ({"tolerate": tolerate} if tolerate else {})
    steer_service(
        settings, service.value, asked_for(service.value, topics, all_), "running", wish, wait, output, url, token_file
    )
