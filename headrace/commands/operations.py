"""The command `headrace operations`: lists and controls replays, redrives, pauses and other long operations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from headrace.database.access import open_existing_database
from headrace.remote.asking import ApiOptions
from headrace.remote.client import ApiClient, wait_for_operation
from headrace.remote.services import MaybeServiceArgument, ServiceName, get_from_running, line_of, print_operation
from headrace.terminal.arguments import Output, WideOption, grouped_options
from headrace.terminal.output import print_answer, print_json, print_text, stderr
from shared.errors import ConfigError, HeadraceError
from shared.ops.tables import operations as operations_table
from shared.runtime.api.operations import ID_DIGITS
from shared.settings.sections import Settings
from shared.topics import SERVICES

app = typer.Typer(help="Replays, redrives, pauses and their state.", invoke_without_command=True, rich_markup_mode=None)
WordsArgument = Annotated[list[str], typer.Argument(metavar="[SERVICE] ID", help="Leading zeros may be omitted.")]
COLUMNS = ("id", "service", "kind", "state", "progress", "created_at", "detail")
WIDE_COLUMNS = (*COLUMNS[:-1], "counts", "waiting_for", "error", "requested_by", "finished_at")


@app.callback()
@grouped_options
def operations(api_options: ApiOptions, context: typer.Context, wide: WideOption = False) -> None:
    """List operations (replays, redrives, pauses ...), or work on one: show, wait, pause, resume, cancel."""
    if context.invoked_subcommand is None:
        print_operations(api_options, None, None, None, 50, wide)


@app.command("list")
@grouped_options
def list_operations(
    api_options: ApiOptions,
    service: MaybeServiceArgument = None,
    kind: Annotated[list[str] | None, typer.Option(metavar="K", help="pause, resume, replay, redrive ...")] = None,
    state: Annotated[list[str] | None, typer.Option(metavar="S", help="waiting, running, succeeded ...")] = None,
    limit: Annotated[int, typer.Option("-n", "--limit", min=1, max=1000, help="How many per service.")] = 50,
    wide: WideOption = False,
) -> None:
    """List operations of one service, or of all running services, the newest first. Times are in UTC."""
    print_operations(api_options, service, kind, state, limit, wide)


def print_operations(
    api_options: ApiOptions,
    service: ServiceName | None,
    kind: list[str] | None,
    state: list[str] | None,
    limit: int,
    wide: bool,
) -> None:
    pages = get_from_running(api_options, service, "/operations", kind=kind, state=state, limit=limit)
    bodies: list[dict[str, Any]] = [each for _, page in pages for each in page["operations"]]
    bodies.sort(key=lambda each: str(each["id"]), reverse=True)
    rows, columns = [_row(each) for each in bodies], WIDE_COLUMNS if wide else COLUMNS
    times = ("created_at", "finished_at")
    print_answer(api_options.output, bodies, columns, rows, "no operations", times=times, wide=wide)


@app.command()
@grouped_options
def show(api_options: ApiOptions, words: WordsArgument) -> None:
    """Print one operation as indented JSON."""
    with open_operation(api_options, words) as (client, id_):
        body = client.get(f"/operations/{id_}")
    print_json(body, indent=True)


@app.command()
@grouped_options
def wait(api_options: ApiOptions, words: WordsArgument) -> None:
    """Wait until an operation is over. Exit code 1 if it failed or was cancelled."""
    with open_operation(api_options, words) as (client, id_):
        operation = wait_for_operation(client, client.get(f"/operations/{id_}"), stderr())
    if api_options.output is Output.JSON:
        print_json(operation)
    else:
        print_text(line_of(operation))


def _control_command(action: str, help_text: str) -> Callable[..., None]:
    @grouped_options
    def control(api_options: ApiOptions, words: WordsArgument) -> None:
        with open_operation(api_options, words) as (client, id_):
            print_operation(client, client.post(f"/operations/{id_}/{action}"), False, api_options.output)

    control.__doc__ = help_text
    return control


app.command("cancel")(_control_command("cancel", "Cancel a job after its current step. Finished steps are kept."))
app.command("pause")(_control_command("pause", "Pause a job after its current step."))
app.command("resume")(_control_command("resume", "Resume a paused job."))


@contextmanager
def open_operation(api_options: ApiOptions, words: list[str]) -> Iterator[tuple[ApiClient, str]]:
    """The API of the service that runs an operation, and the operation's id. Ids are unique across services, so the
    service is optional."""
    *service_words, id_ = words
    service = service_words[0] if service_words else None
    if len(service_words) > 1 or (service is not None and service not in SERVICES):
        raise ConfigError(f"{' '.join(words)}: expected [SERVICE] ID, with a service of {', '.join(SERVICES)}")
    digits = _validated_id(id_)
    if service is None:
        service = _service_of(api_options.settings, digits)
    with api_options.open_api(service) as client:
        yield client, digits


def _service_of(settings: Settings, digits: str) -> str:
    with open_existing_database(settings) as access, access.connect("headrace operations") as connection:
        operation = operations_table.get(connection, digits.zfill(ID_DIGITS))
    if operation is None:
        raise HeadraceError(f"there is no operation {digits}; `headrace operations` lists those there are")
    return operation.service


def _validated_id(text: str) -> str:
    if not text.isdecimal():
        raise ConfigError(f"ID {text}: expected a number, as `headrace operations list` shows it")
    return text


def _row(operation: dict[str, Any]) -> dict[str, Any]:
    """`detail`: the error, what the operation waits for, or its counts."""
    counts = ", ".join(f"{name} {count}" for name, count in operation["counts"].items())
    waiting = f"waiting: {operation['waiting_for']}" if operation["waiting_for"] else None
    return operation | {
        "id": str(int(operation["id"])),
        "progress": f"{operation['progress']:.0%}",
        "counts": counts,
        "detail": operation["error"] or waiting or counts,
    }
