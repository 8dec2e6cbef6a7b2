"""headrace operations: everything that takes longer than an answer."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated, Any

import orjson
import typer

from headrace.commands.arguments import (
    ConfigOption,
    DatabaseOption,
    DataDirOption,
    Output,
    OutputOption,
    settings_of,
    stderr,
)
from headrace.commands.remote import (
    MaybeServiceArgument,
    ServiceArgument,
    TokenFileOption,
    UrlOption,
    conclude,
    give,
    line_of,
    services_of,
)
from headrace.rest import NotRunningError, api, follow
from shared.errors import ConfigError

app = typer.Typer(help="Replays, redrives, pauses: what is under way.", no_args_is_help=True, rich_markup_mode=None)
IdArgument = Annotated[str, typer.Argument(metavar="ID", help="Leading zeros may be left away.")]
LIST = ("id", "service", "kind", "state", "progress", "counts", "waiting_for", "error", "requested_by", "created_at")


@app.callback()
def operations() -> None:
    """Everything that takes longer than an answer."""


@app.command("list")
def list_(
    service: MaybeServiceArgument = None,
    kind: Annotated[list[str] | None, typer.Option(metavar="K", help="pause, resume, replay, redrive ...")] = None,
    state: Annotated[list[str] | None, typer.Option(metavar="S", help="waiting, running, succeeded ...")] = None,
    limit: Annotated[int, typer.Option("-n", "--limit", min=1, max=1000, help="How many, of each service.")] = 50,
    output: OutputOption = Output.TABLE,
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    data_dir: DataDirOption = None,
    database: DatabaseOption = None,
    config: ConfigOption = None,
) -> None:
    """The newest first, of one service or of all that run."""
    settings = settings_of(data_dir, database, config)
    found: list[dict[str, Any]] = []
    for name in services_of(service):
        try:
            with api(settings, name, url, token_file) as asked:
                found += asked.get("/operations", kind=kind, state=state, limit=limit)["operations"]
        except NotRunningError:
            if service is not None:
                raise
    found.sort(key=lambda each: str(each["id"]), reverse=True)
    rows = [tuple(_shown(each, column) for column in LIST) for each in found]
    give(output, found, LIST, lambda: rows, "no operations")


@app.command()
def show(
    service: ServiceArgument,
    id_: IdArgument,
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    data_dir: DataDirOption = None,
    database: DatabaseOption = None,
    config: ConfigOption = None,
) -> None:
    """One, whole, as indented JSON."""
    with api(settings_of(data_dir, database, config), service.value, url, token_file) as asked:
        body = asked.get(f"/operations/{_digits(id_)}")
    sys.stdout.write(orjson.dumps(body, option=orjson.OPT_INDENT_2).decode() + "\n")


@app.command()
def wait(
    service: ServiceArgument,
    id_: IdArgument,
    output: OutputOption = Output.TABLE,
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    data_dir: DataDirOption = None,
    database: DatabaseOption = None,
    config: ConfigOption = None,
) -> None:
    """Until it is over. Exit code 1 when it failed or was cancelled."""
    with api(settings_of(data_dir, database, config), service.value, url, token_file) as asked:
        said = follow(asked, asked.get(f"/operations/{_digits(id_)}"), stderr())
    sys.stdout.write((orjson.dumps(said).decode() if output is Output.JSON else line_of(said)) + "\n")


def _telling(word: str, meaning: str) -> Callable[..., None]:
    def tell(
        service: ServiceArgument,
        id_: IdArgument,
        output: OutputOption = Output.TABLE,
        url: UrlOption = None,
        token_file: TokenFileOption = None,
        data_dir: DataDirOption = None,
        database: DatabaseOption = None,
        config: ConfigOption = None,
    ) -> None:
        with api(settings_of(data_dir, database, config), service.value, url, token_file) as asked:
            conclude(asked, asked.post(f"/operations/{_digits(id_)}/{word}"), False, output)

    tell.__doc__ = meaning
    return tell


app.command("cancel")(_telling("cancel", "End a job after the step it is in; what it did until then stays."))
app.command("pause")(_telling("pause", "Let a job wait after the step it is in."))
app.command("resume")(_telling("resume", "Let a job that was paused go on."))


def _digits(text: str) -> str:
    if not text.isdecimal():
        raise ConfigError(f"ID {text}: expected a number, as `headrace operations list` shows it")
    return text


def _shown(operation: dict[str, Any], column: str) -> Any:
    match column:
        case "id":
            return str(int(operation["id"]))
        case "progress":
            return f"{operation['progress']:.0%}"
        case "counts":
            return ", ".join(f"{name} {count}" for name, count in operation["counts"].items())
    return operation[column]
