"""Shared by commands that call the REST API: service names, calls to several services, and printing operations."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

import typer

from headrace.remote.asking import Asking
from headrace.remote.client import Answer, Api, NotRunningError, follow, title_of
from headrace.terminal.arguments import Output
from headrace.terminal.output import print_json, stderr, stdout
from headrace.terminal.table import text_of

ACCEPTED = 202


class ServiceName(StrEnum):
    FETCHER = "fetcher"
    CLEANER = "cleaner"
    LOADER = "loader"
    PREDICTOR = "predictor"
    NOTIFIER = "notifier"


ServiceArgument = Annotated[ServiceName, typer.Argument(metavar="SERVICE", help="fetcher, cleaner, loader ...")]
MaybeServiceArgument = Annotated[ServiceName | None, typer.Argument(metavar="[SERVICE]", help="[default: all]")]
WaitOption = Annotated[bool, typer.Option("--wait", help="Wait until the operation ends.")]


def conclude(asked: Api, answer: Answer, wait: bool, output: Output) -> dict[str, Any]:
    """Prints an operation and returns it; with `wait`, waits until it has ended."""
    said: dict[str, Any] = answer.body
    if answer.status == ACCEPTED and wait:
        said = follow(asked, said, stderr())
    if output is Output.JSON:
        print_json(said)
    elif "state" in said:
        stdout().print(line_of(said), markup=False)
    return said


def line_of(operation: Mapping[str, Any]) -> str:
    counts = ", ".join(f"{text_of(count)} {name}" for name, count in operation["counts"].items())
    more = f" ({counts})" if counts else ""
    hint = "" if operation["finished_at"] else f"; headrace operations wait {int(operation['id'])}"
    return f"{title_of(operation)}{more}{hint}"


def of_each(asking: Asking, service: ServiceName | None, path: str, **params: Any) -> list[tuple[str, Any]]:
    """Gets `path` from every running service, or from `service` only. Raises NotRunningError if none is running."""
    found = of_running(asking, service, path, **params)
    if not found:
        raise NotRunningError("no service is running: `headrace run` starts them")
    return found


def of_running(asking: Asking, service: ServiceName | None, path: str, **params: Any) -> list[tuple[str, Any]]:
    """Like `get_from_each`, but returns an empty list if no service is running."""
    found = []
    for name in [service.value] if service else [each.value for each in ServiceName]:
        try:
            with asking.api(name) as asked:
                found.append((name, asked.get(path, **params)))
        except NotRunningError:
            if service is not None:
                raise
    return found
