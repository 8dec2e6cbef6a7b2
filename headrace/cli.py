"""Defines all commands of `headrace`, and turns their errors into one line on stderr and an exit code.

Exit codes: 0 success; 1 failure: a service refused the request or is not running, or, with --wait, the operation failed
or was cancelled (`audit`: a record is missing, duplicated or differs; `quality`: a threshold is broken); 2 wrong
options or settings; 130 stopped by Ctrl-C, 143 by SIGTERM; 141 the reader of the output closed the pipe.
"""

from __future__ import annotations

import os
import sys
from collections import UserDict
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from typing import Annotated, Any, cast

import typer
from typer.core import TyperCommand, TyperGroup

from headrace.processes.interrupts import Interrupted
from headrace.shown import shown
from shared.errors import ConfigError, HeadraceError

COMMANDS = {
    "run": "run:run",
    "status": "status:status",
    "migrate": "migrate:migrate",
    "backup": "backup:backup",
    "restore": "restore:restore",
    "sql": "sql:sql",
    "plot": "plot:plot",
    "pause": "pause:pause",
    "resume": "resume:resume",
    "replay": "replay:replay",
    "lag": "lag:lag",
    "trail": "trail:trail",
    "audit": "audit:audit",
    "quality": "quality:quality",
    "backfill": "backfill:backfill",
    "export": "export:export",
    "train": "train:train",
    "backtest": "backtest:backtest",
    "promote": "promote:promote",
    "rollback": "rollback:rollback",
    "explain": "explain:explain",
    "simulate": "simulate:simulate",
    "archive": "archive:app",
    "db": "db:app",
    "pack": "pack:app",
    "token": "token:app",
    "models": "models:app",
    "operations": "operations:app",
    "dead-letters": "dead_letters:app",
    "windows": "windows:app",
    "notifications": "notifications:app",
    "alerts": "alerts:app",
    "gates": "gates:app",
    "topics": "topics:app",
    "groups": "groups:app",
    "rules": "rules:app",
    "config": "config:app",
}
"""Module and function, or Typer app, of each command, in the order of the help."""
SUCCESS, FAILURE, INVALID_USAGE, BROKEN_PIPE = 0, 1, 2, 141
# Some versions of Typer bundle a copy of click's errors. This is the usage error's base class in every version.
UsageError = cast("type[Exception]", typer.BadParameter.__mro__[2])


def command(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code."""
    try:
        code = build_app()(list(arguments) or ["--help"], standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:  # `headrace ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except (Exception, KeyboardInterrupt) as error:
        described = describe_error(error)
        if described is None:
            raise
        text, code = described
        sys.stderr.write(f"headrace: {shown(text)}\n")
    return code if isinstance(code, int) else SUCCESS


def describe_error(error: BaseException) -> tuple[str, int] | None:
    """The line to print for an error, and the exit code. None for an error that must not happen."""
    from psycopg import Error as DatabaseError  # noqa: PLC0415 - most commands and completion need no database

    from headrace.database.access import one_line  # noqa: PLC0415

    outcome: tuple[str, int] | None = None
    match error:
        case Interrupted():
            outcome = f"{error}; all data is kept, and the next run continues from here", error.exit_code
        case KeyboardInterrupt():
            outcome = "stopped", 130
        case ConfigError():
            outcome = str(error), INVALID_USAGE
        case HeadraceError():
            outcome = str(error), FAILURE
        case DatabaseError():
            outcome = f"the database reported an error: {one_line(error)}", FAILURE
        case OSError():
            outcome = f"{error.filename or 'the system'}: {error.strerror or error}", FAILURE
        case _ if isinstance(error, UsageError):
            message = cast("typer.BadParameter", error).format_message()
            outcome = (message if "Usage:" in message else f"{message} (see --help)"), INVALID_USAGE
    return outcome


def print_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"{version('headrace')}\n")
        raise typer.Exit


def global_options(
    _version: Annotated[
        bool, typer.Option("--version", callback=print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Headrace fetches, cleans, loads, predicts and notifies. Run the pipeline on this machine and operate it."""


class LazyCommands(UserDict[str, Any]):
    """The commands by name. The module of a command is imported when the command is asked for."""

    def __init__(self) -> None:
        super().__init__(dict.fromkeys(COMMANDS))

    def __getitem__(self, name: str) -> Any:
        if super().__getitem__(name) is None:
            self[name] = load_command(name)
        return super().__getitem__(name)


class LazyGroup(TyperGroup):
    """The group `headrace`, which imports only the command that is used."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = LazyCommands()

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        """Offers the names of commands, without their help, for which all modules would be imported."""
        self.commands = {name: TyperCommand(name) for name in COMMANDS}
        return super().shell_complete(ctx, incomplete)


def load_command(name: str) -> Any:
    """The command of a name, from its module."""
    module_name, _, attribute = COMMANDS[name].partition(":")
    module = import_module(f"headrace.commands.{module_name}")
    part = getattr(module, attribute)
    parent = typer.Typer(rich_markup_mode=None, add_completion=False)
    parent.callback()(global_options)
    if isinstance(part, typer.Typer):
        parent.add_typer(part, name=name)
    else:
        parent.command(name, context_settings=getattr(module, "PASS_THROUGH_OPTIONS", None))(part)
    return cast("TyperGroup", typer.main.get_command(parent)).commands[name]


def build_app() -> typer.Typer:
    app = typer.Typer(cls=LazyGroup, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.callback()(global_options)
    return app
