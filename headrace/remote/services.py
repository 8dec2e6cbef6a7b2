"""Shared by commands that call the REST API: service names, calls to several services, and printing operations."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

import typer

from headrace.remote.asking import ApiOptions
from headrace.remote.client import ApiClient, ApiResponse, NotRunningError, title_of, wait_for_operation
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


def print_operation(client: ApiClient, answer: ApiResponse, wait: bool, output: Output) -> dict[str, Any]:
    """Prints an operation and returns it; with `wait`, waits until it has ended."""
    operation: dict[str, Any] = answer.body
    if answer.status == ACCEPTED and wait:
        operation = wait_for_operation(client, operation, stderr())
    if output is Output.JSON:
        print_json(operation)
    elif "state" in operation:
        stdout().print(line_of(operation), markup=False)
    return operation


def line_of(operation: Mapping[str, Any]) -> str:
    counts = ", ".join(f"{text_of(count)} {name}" for name, count in operation["counts"].items())
    more = f" ({counts})" if counts else ""
    hint = "" if operation["finished_at"] else f"; headrace operations wait {int(operation['id'])}"
    return f"{title_of(operation)}{more}{hint}"


def get_from_each(asking: ApiOptions, service: ServiceName | None, path: str, **params: Any) -> list[tuple[str, Any]]:
    """Gets `path` from every running service, or from `service` only. Raises NotRunningError if none is running."""
    responses = get_from_running(asking, service, path, **params)
    if not responses:
        raise NotRunningError("no service is running: `headrace run` starts them")
    return responses


def get_from_running(
    asking: ApiOptions, service: ServiceName | None, path: str, **params: Any
) -> list[tuple[str, Any]]:
    """Like `get_from_each`, but returns an empty list if no service is running."""
    responses = []
    for name in [service.value] if service else [each.value for each in ServiceName]:
        try:
            with asking.open_api(name) as client:
                responses.append((name, client.get(path, **params)))
        except NotRunningError:
            if service is not None:
                raise
    return responses
