"""The command `headrace operations`: lists and controls replays, redrives, pauses and other long operations."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from headrace.database.access import opened_if_made
from headrace.remote.asking import Asking
from headrace.remote.client import Api, follow
from headrace.remote.services import MaybeServiceArgument, ServiceName, conclude, line_of, of_running
from headrace.terminal.arguments import Output, WideOption, grouped_options
from headrace.terminal.output import print_answer, print_json, stderr
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
def operations(asking: Asking, context: typer.Context, wide: WideOption = False) -> None:
    """List operations (replays, redrives, pauses ...), or work on one: show, wait, pause, resume, cancel."""
    if context.invoked_subcommand is None:
        show_all(asking, None, None, None, 50, wide)


@app.command("list")
@grouped_options
def list_operations(
    asking: Asking,
    service: MaybeServiceArgument = None,
    kind: Annotated[list[str] | None, typer.Option(metavar="K", help="pause, resume, replay, redrive ...")] = None,
    state: Annotated[list[str] | None, typer.Option(metavar="S", help="waiting, running, succeeded ...")] = None,
    limit: Annotated[int, typer.Option("-n", "--limit", min=1, max=1000, help="How many per service.")] = 50,
    wide: WideOption = False,
) -> None:
    """List operations of one service, or of all running services, the newest first. Times are in UTC."""
    show_all(asking, service, kind, state, limit, wide)


def show_all(
    asking: Asking, service: ServiceName | None, kind: list[str] | None, state: list[str] | None, limit: int, wide: bool
) -> None:
    pages = of_running(asking, service, "/operations", kind=kind, state=state, limit=limit)
    found: list[dict[str, Any]] = [each for _, page in pages for each in page["operations"]]
    found.sort(key=lambda each: str(each["id"]), reverse=True)
    rows, columns = [_row(each) for each in found], WIDE_COLUMNS if wide else COLUMNS
    times = ("created_at", "finished_at")
    print_answer(asking.output, found, columns, rows, "no operations", times=times, wide=wide)


@app.command()
@grouped_options
def show(asking: Asking, words: WordsArgument) -> None:
    """Print one operation as indented JSON."""
    with of_operation(asking, words) as (asked, id_):
        body = asked.get(f"/operations/{id_}")
    print_json(body, indent=True)


@app.command()
@grouped_options
def wait(asking: Asking, words: WordsArgument) -> None:
    """Wait until an operation is over. Exit code 1 if it failed or was cancelled."""
    with of_operation(asking, words) as (asked, id_):
        said = follow(asked, asked.get(f"/operations/{id_}"), stderr())
    if asking.output is Output.JSON:
        print_json(said)
    else:
        sys.stdout.write(f"{line_of(said)}\n")


def _telling(word: str, meaning: str) -> Callable[..., None]:
    @grouped_options
    def tell(asking: Asking, words: WordsArgument) -> None:
        with of_operation(asking, words) as (asked, id_):
            conclude(asked, asked.post(f"/operations/{id_}/{word}"), False, asking.output)

    tell.__doc__ = meaning
    return tell


app.command("cancel")(_telling("cancel", "Cancel a job after its current step. Finished steps are kept."))
app.command("pause")(_telling("pause", "Pause a job after its current step."))
app.command("resume")(_telling("resume", "Resume a paused job."))


@contextmanager
def of_operation(asking: Asking, words: list[str]) -> Iterator[tuple[Api, str]]:
    """The API of the service that runs an operation, and the operation's id. Ids are unique across services, so the
    service is optional."""
    *named, id_ = words
    service = named[0] if named else None
    if len(named) > 1 or (service is not None and service not in SERVICES):
        raise ConfigError(f"{' '.join(words)}: expected [SERVICE] ID, with a service of {', '.join(SERVICES)}")
    digits = _digits(id_)
    if service is None:
        service = _service_of(asking.settings, digits)
    with asking.api(service) as asked:
        yield asked, digits


def _service_of(settings: Settings, digits: str) -> str:
    with opened_if_made(settings) as access, access.connect("headrace operations") as connection:
        found = operations_table.get(connection, digits.zfill(ID_DIGITS))
    if found is None:
        raise HeadraceError(f"there is no operation {digits}; `headrace operations` lists those there are")
    return found.service


def _digits(text: str) -> str:
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
