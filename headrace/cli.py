"""All commands of `headrace`, and what becomes of their errors: one line on stderr, and an exit code.

0 done; 1 it could not be done: refused by a service, not running, or, with --wait, failed or cancelled (`audit`:
something is missing, twice, or not what it should be); 2 wrong options or settings; 130 stopped by Ctrl-C, 143 by
SIGTERM; 141 nobody reads the output any more.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import cast

import psycopg
import typer

from headrace.commands import config, db, dead_letters, models, operations, token, topics
from headrace.commands.audit import audit
from headrace.commands.backfill import backfill
from headrace.commands.backtest import backtest
from headrace.commands.export import export
from headrace.commands.lag import lag
from headrace.commands.migrate import migrate
from headrace.commands.pause import pause
from headrace.commands.promote import promote
from headrace.commands.replay import replay
from headrace.commands.resume import resume
from headrace.commands.rollback import rollback
from headrace.commands.run import run
from headrace.commands.simulate import ALL_TO_THE_SIMULATOR, simulate
from headrace.commands.sql import sql
from headrace.commands.status import status
from headrace.commands.trail import trail
from headrace.commands.train import train
from headrace.commands.windows import windows
from headrace.database.access import one_line
from headrace.processes.interrupts import Interrupted
from shared.errors import ConfigError, HeadraceError

DONE, FAILED, WRONG, BROKEN_PIPE = 0, 1, 2, 141
# Typer carries its own copy of click's errors in some versions: this is the base of "you called it wrongly" in all.
CallError = cast("type[Exception]", typer.BadParameter.__mro__[2])


def command(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code."""
    try:
        code = app_of()(list(arguments) or ["--help"], standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:  # `headrace ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except (HeadraceError, Interrupted, KeyboardInterrupt, psycopg.Error, OSError, CallError) as error:
        text, code = meaning_of(error)
        sys.stderr.write(f"headrace: {text}\n")
    return code if isinstance(code, int) else DONE


def meaning_of(error: BaseException) -> tuple[str, int]:
    """What to say of an error, and the exit code."""
    match error:
        case Interrupted():
            found = f"{error}; everything is kept, the next run goes on from here", error.exit_code
        case KeyboardInterrupt():
            found = "stopped", 130
        case ConfigError():
            found = str(error), WRONG
        case HeadraceError():
            found = str(error), FAILED
        case psycopg.Error():
            found = f"the database refused: {one_line(error)}", FAILED
        case OSError():
            found = f"{error.filename or 'the system'}: {error.strerror or error}", FAILED
        case _:
            said = cast("typer.BadParameter", error).format_message()
            found = (said if "Usage:" in said else f"{said} (--help lists what there is)"), WRONG
    return found


def app_of() -> typer.Typer:
    app = typer.Typer(
        help="Headrace: fetch, clean, load, predict, notify; on this machine, steered from here.",
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
    app.command()(run)
    app.command()(status)
    app.command()(migrate)
    app.command()(sql)
    for steering in (pause, resume, replay, lag, trail, audit, windows, backfill, export):
        app.command()(steering)
    for learning in (train, backtest, promote, rollback):
        app.command()(learning)
    app.command(context_settings=ALL_TO_THE_SIMULATOR)(simulate)
    app.add_typer(db.app, name="db")
    app.add_typer(token.app, name="token")
    app.add_typer(models.app, name="models")
    app.add_typer(operations.app, name="operations")
    app.add_typer(dead_letters.app, name="dead-letters")
    app.add_typer(topics.app, name="topics")
    app.add_typer(config.app, name="config")
    return app
