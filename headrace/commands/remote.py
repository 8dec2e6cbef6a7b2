"""What the commands that go through REST share: their options, and how they show what came."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any

import orjson
import typer
from rich.table import Table

from headrace.client import Answer, Api, NotRunningError, follow, title_of
from headrace.commands.arguments import Output, stderr, stdout
from headrace.commands.asking import Asking
from shared.errors import ConfigError

ACCEPTED = 202


class ServiceName(StrEnum):
    FETCHER = "fetcher"
    CLEANER = "cleaner"
    LOADER = "loader"
    PREDICTOR = "predictor"
    NOTIFIER = "notifier"


ServiceArgument = Annotated[ServiceName, typer.Argument(metavar="SERVICE", help="fetcher, cleaner, loader ...")]
MaybeServiceArgument = Annotated[ServiceName | None, typer.Argument(metavar="[SERVICE]", help="[default: all]")]
WaitOption = Annotated[bool, typer.Option("--wait", help="Until it is done.")]

Row = Sequence[Any]


def give(output: Output, body: Any, columns: Sequence[str], rows: Callable[[], Iterable[Row]], none: str) -> None:
    """A body as JSON for programs, or as a table; `none` where there is nothing to show."""
    if output is Output.JSON:
        sys.stdout.write(orjson.dumps(body).decode() + "\n")
        return
    found = list(rows())
    if not found:
        stdout().print(none)
        return
    table = Table(*columns)
    for row in found:
        table.add_row(*(text_of(value) for value in row))
    stdout().print(table, markup=False)


def conclude(asked: Api, answer: Answer, wait: bool, output: Output) -> dict[str, Any]:
    """Say what an operation is, or, having waited for it, what it came to."""
    said: dict[str, Any] = answer.body
    if answer.status == ACCEPTED and wait:
        said = follow(asked, said, stderr())
    if output is Output.JSON:
        sys.stdout.write(orjson.dumps(said).decode() + "\n")
    elif "state" in said:
        stdout().print(line_of(said), markup=False)
    return said


def line_of(operation: Mapping[str, Any]) -> str:
    counts = ", ".join(f"{text_of(count)} {name}" for name, count in operation["counts"].items())
    more = f" ({counts})" if counts else ""
    hint = "" if operation["finished_at"] else f"; headrace operations wait {int(operation['id'])}"
    return f"{title_of(operation)}{more}{hint}"


def text_of(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float():
            return f"{value:,.1f}"
        case dict() | list():
            return orjson.dumps(value).decode()
    return str(value)


def services_of(service: ServiceName | None) -> list[str]:
    """The one that was named, or all."""
    return [service.value] if service else [each.value for each in ServiceName]


def of_each(asking: Asking, service: ServiceName | None, path: str, **params: Any) -> list[tuple[str, Any]]:
    """What every service that runs answers; where one was named, it has to."""
    found = []
    for name in services_of(service):
        try:
            with asking.api(name) as asked:
                found.append((name, asked.get(path, **params)))
        except NotRunningError:
            if service is not None:
                raise
    if not found:
        raise NotRunningError("no service is running: `headrace run` starts them")
    return found


def rejected(option: str, text: str, expected: str) -> ConfigError:
    return ConfigError(f"{option} {text}: expected {expected}")
