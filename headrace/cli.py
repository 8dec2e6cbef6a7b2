"""Defines all commands of `headrace`, and turns their errors into one line on stderr and an exit code.

Exit codes: 0 success; 1 failure: a service refused the request or is not running, or, with --wait, the operation failed
or was cancelled (`audit`: a record is missing, duplicated or differs; `quality`: a threshold is broken); 2 wrong
options or settings; 130 stopped by Ctrl-C, 143 by SIGTERM; 141 the reader of the output closed the pipe.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Annotated, cast

import psycopg
import typer

from headrace.commands import (
    alerts,
    archive,
    config,
    db,
    dead_letters,
    gates,
    groups,
    models,
    notifications,
    operations,
    pack,
    rules,
    token,
    topics,
    windows,
)
from headrace.commands.audit import audit
from headrace.commands.backfill import backfill
from headrace.commands.backtest import backtest
from headrace.commands.backup import backup
from headrace.commands.explain import explain
from headrace.commands.export import export
from headrace.commands.lag import lag
from headrace.commands.migrate import migrate
from headrace.commands.pause import pause
from headrace.commands.plot import plot
from headrace.commands.promote import promote
from headrace.commands.quality import quality
from headrace.commands.replay import replay
from headrace.commands.restore import restore
from headrace.commands.resume import resume
from headrace.commands.rollback import rollback
from headrace.commands.run import run
from headrace.commands.simulate import PASS_THROUGH_OPTIONS, simulate
from headrace.commands.sql import sql
from headrace.commands.status import status
from headrace.commands.trail import trail
from headrace.commands.train import train
from headrace.database.access import one_line
from headrace.processes.interrupts import Interrupted
from shared.errors import ConfigError, HeadraceError

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
    except (HeadraceError, Interrupted, KeyboardInterrupt, psycopg.Error, OSError, UsageError) as error:
        text, code = describe_error(error)
        sys.stderr.write(f"headrace: {text}\n")
    return code if isinstance(code, int) else SUCCESS


def describe_error(error: BaseException) -> tuple[str, int]:
    """The line to print for an error, and the exit code."""
    match error:
        case Interrupted():
            outcome = f"{error}; all data is kept, and the next run continues from here", error.exit_code
        case KeyboardInterrupt():
            outcome = "stopped", 130
        case ConfigError():
            outcome = str(error), INVALID_USAGE
        case HeadraceError():
            outcome = str(error), FAILURE
        case psycopg.Error():
            outcome = f"the database reported an error: {one_line(error)}", FAILURE
        case OSError():
            outcome = f"{error.filename or 'the system'}: {error.strerror or error}", FAILURE
        case _:
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


def build_app() -> typer.Typer:
    app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
    app.callback()(global_options)
    app.command()(run)
    app.command()(status)
    app.command()(migrate)
    app.command()(backup)
    app.command()(restore)
    app.command()(sql)
    app.command()(plot)
    for operator_command in (pause, resume, replay, lag, trail, audit, quality, backfill, export):
        app.command()(operator_command)
    for model_command in (train, backtest, promote, rollback, explain):
        app.command()(model_command)
    app.command(context_settings=PASS_THROUGH_OPTIONS)(simulate)
    app.add_typer(archive.app, name="archive")
    app.add_typer(db.app, name="db")
    app.add_typer(pack.app, name="pack")
    app.add_typer(token.app, name="token")
    app.add_typer(models.app, name="models")
    app.add_typer(operations.app, name="operations")
    app.add_typer(dead_letters.app, name="dead-letters")
    app.add_typer(windows.app, name="windows")
    app.add_typer(notifications.app, name="notifications")
    app.add_typer(alerts.app, name="alerts")
    app.add_typer(gates.app, name="gates")
    app.add_typer(topics.app, name="topics")
    app.add_typer(groups.app, name="groups")
    app.add_typer(rules.app, name="rules")
    app.add_typer(config.app, name="config")
    return app
