"""headrace operations: everything that takes longer than an answer."""

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
from headrace.terminal.arguments import Output, grouped_options
from headrace.terminal.output import give, print_json, stderr
from shared.errors import ConfigError, HeadraceError
from shared.ops.tables import operations as operations_table
from shared.runtime.api.operations import ID_DIGITS
from shared.settings.sections import Settings
from shared.topics import SERVICES

app = typer.Typer(
    help="Replays, redrives, pauses: what is under way.", invoke_without_command=True, rich_markup_mode=None
)
WordsArgument = Annotated[list[str], typer.Argument(metavar="[SERVICE] ID", help="Leading zeros may be left away.")]
LIST = ("id", "service", "kind", "state", "progress", "counts", "waiting_for", "error", "requested_by", "created_at")


@app.callback()
@grouped_options
def operations(asking: Asking, context: typer.Context) -> None:
    """List everything that takes longer than an answer, or deal with one: show, wait, pause, resume, cancel."""
    if context.invoked_subcommand is None:
        show_all(asking, None, None, None, 50)


@app.command("list")
@grouped_options
def list_operations(
    asking: Asking,
    service: MaybeServiceArgument = None,
    kind: Annotated[list[str] | None, typer.Option(metavar="K", help="pause, resume, replay, redrive ...")] = None,
    state: Annotated[list[str] | None, typer.Option(metavar="S", help="waiting, running, succeeded ...")] = None,
    limit: Annotated[int, typer.Option("-n", "--limit", min=1, max=1000, help="How many, of each service.")] = 50,
) -> None:
    """The newest first, of one service or of all that run."""
    show_all(asking, service, kind, state, limit)


def show_all(
    asking: Asking, service: ServiceName | None, kind: list[str] | None, state: list[str] | None, limit: int
) -> None:
    pages = of_running(asking, service, "/operations", kind=kind, state=state, limit=limit)
    found: list[dict[str, Any]] = [each for _, page in pages for each in page["operations"]]
    found.sort(key=lambda each: str(each["id"]), reverse=True)
    give(asking.output, found, LIST, [_shown(each) for each in found], "no operations")


@app.command()
@grouped_options
def show(asking: Asking, words: WordsArgument) -> None:
    """One, whole, as indented JSON."""
    with of_operation(asking, words) as (asked, id_):
        body = asked.get(f"/operations/{id_}")
    print_json(body, indent=True)


@app.command()
@grouped_options
def wait(asking: Asking, words: WordsArgument) -> None:
    """Until it is over. Exit code 1 when it failed or was cancelled."""
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


app.command("cancel")(_telling("cancel", "End a job after the step it is in; what it did until then stays."))
app.command("pause")(_telling("pause", "Let a job wait after the step it is in."))
app.command("resume")(_telling("resume", "Let a job that was paused go on."))


@contextmanager
def of_operation(asking: Asking, words: list[str]) -> Iterator[tuple[Api, str]]:
    """The API of the service that an operation belongs to, and its id. Ids are those of all services together, so the
    service need not be named."""
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


def _shown(operation: dict[str, Any]) -> dict[str, Any]:
    counts = ", ".join(f"{name} {count}" for name, count in operation["counts"].items())
    return operation | {"id": str(int(operation["id"])), "progress": f"{operation['progress']:.0%}", "counts": counts}
